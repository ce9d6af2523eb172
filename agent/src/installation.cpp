// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "installation.hpp"

#include <algorithm>

#include <windows.h>

#include <winver.h>

#include "crypto.hpp"
#include "jobs.hpp"
#include "payload_operations.hpp"
#include "service_control.hpp"
#include "text.hpp"
#include "version.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

// The version in a program's resources, nothing when it has none.
std::optional<std::string> file_version(const std::wstring &path) {
    DWORD ignored = 0;
    const DWORD size = GetFileVersionInfoSizeW(path.c_str(), &ignored);
    std::vector<std::uint8_t> data(size);
    VS_FIXEDFILEINFO *fixed = nullptr;
    UINT length = 0;
    if (size == 0 || GetFileVersionInfoW(path.c_str(), 0, size, data.data()) == FALSE ||
        VerQueryValueW(data.data(), L"\\", reinterpret_cast<void **>(&fixed), &length) == FALSE || fixed == nullptr) {
        return std::nullopt;
    }
    return std::to_string(HIWORD(fixed->dwFileVersionMS)) + "." + std::to_string(LOWORD(fixed->dwFileVersionMS)) + "." +
           std::to_string(HIWORD(fixed->dwFileVersionLS));
}

Json previous_json(const std::optional<ServiceInfo> &service) {
    if (!service) {
        return {};
    }
    const auto version = file_version(service->path);
    return Json::object({{"path", to_utf8(service->path)}, {"version", version ? Json(*version) : Json()}});
}

Status copy_verified(const std::wstring &from, const std::wstring &to, const Sha256 &expected) {
    const std::wstring temporary = to + L".tmp";
    if (CopyFileW(from.c_str(), temporary.c_str(), FALSE) == FALSE) {
        const DWORD number = GetLastError();
        DeleteFileW(temporary.c_str());
        return windows_error(code_of_write_error(number), "The agent cannot be copied", to_utf8(to), number);
    }
    const auto copied = sha256_of_file(temporary);
    Status status = copied ? Status(Unit{}) : Status(copied.error());
    if (status && copied.value() != expected) {
        status = Error{Code::store_hash_mismatch, "The agent changed while it was copied", to_utf8(from), 0};
    }
    if (status) {
        status = move_file(temporary, to);
    }
    if (!status) {
        DeleteFileW(temporary.c_str());
    }
    return status;
}

// Agents that no service uses any more. One that still runs, an installer job's, cannot be removed and stays until the next time.
void remove_other_agents(const Paths &paths, const std::wstring &kept) {
    for (const Entry &entry : list_folder(paths.agents())) {
        const std::wstring folder = paths.agents() + L"\\" + entry.name;
        if (entry.folder && !equal_ignoring_case(folder + L"\\hotpatch-agent.exe", kept)) {
            (void)remove_tree(folder);
        }
    }
}

// Switches the service to the new program; when that one does not start, back to the old.
Status switch_service(const std::wstring &program, const std::optional<ServiceInfo> &before) {
    auto status = stop_service();
    if (status) {
        status = configure_service(program);
    }
    if (status) {
        status = start_service();
    }
    if (!status && before && !equal_ignoring_case(before->path, program) && file_exists(before->path)) {
        (void)configure_service(before->path);
        (void)start_service();
    }
    return status;
}

bool in_place(const std::optional<ServiceInfo> &service, const std::wstring &program) {
    return service && service->state == SERVICE_RUNNING && equal_ignoring_case(service->path, program);
}

struct UninstallOptions {
    bool keep_store = false;
    bool revert = true;
};

Result<UninstallOptions> read_uninstall_options(const Json &arguments) {
    UninstallOptions options;
    Fields fields(arguments, "arguments");
    options.keep_store = fields.flag("keep_store", options.keep_store);
    options.revert = fields.flag("revert", options.revert);
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    return options;
}

Status refuse_while_installing(const Paths &paths) {
    for (const Job &job : list_jobs(paths)) {
        if (job.state == JobState::running) {
            return Error{Code::agent_busy, "The job " + job.id + " is installing " + job.kb, {}, 0};
        }
    }
    return Unit{};
}

// Everything below the root but what is to be kept; what could not be removed is told.
void remove_files(const Paths &paths, bool keep_store, Json &removed, Json &remaining) {
    for (const Entry &entry : list_folder(paths.root)) {
        const std::wstring path = paths.root + L"\\" + entry.name;
        const bool kept = keep_store && (path == paths.store() || path == paths.trust());
        if (kept) {
            continue;
        }
        const bool folder = entry.folder && !entry.link;
        const auto left =
            folder ? remove_tree(path) : (remove_file(path) ? std::vector<std::wstring>() : std::vector<std::wstring>{path});
        for (const std::wstring &each : left) {
            remaining.push_back(to_utf8(each));
        }
        if (left.empty()) {
            removed.push_back(to_utf8(path));
        }
    }
    if (!keep_store && remaining.empty() && RemoveDirectoryW(paths.root.c_str()) != FALSE) {
        removed.push_back(to_utf8(paths.root));
    }
}

} // namespace

Result<std::wstring> place_agent(const Paths &paths) {
    const std::wstring own = own_path();
    const auto hash = sha256_of_file(own);
    if (!hash) {
        return hash.error();
    }
    const std::wstring place = paths.agent(hash.value());
    const std::wstring folder = place.substr(0, place.rfind(L'\\'));
    if (CreateDirectoryW(folder.c_str(), nullptr) == FALSE && GetLastError() != ERROR_ALREADY_EXISTS) {
        const DWORD number = GetLastError();
        return windows_error(code_of_write_error(number), "A folder cannot be created", to_utf8(folder), number);
    }
    if (file_exists(place)) {
        const auto held = sha256_of_file(place);
        if (held && held.value() == hash.value()) {
            return place;
        }
    }
    if (const auto status = copy_verified(own, place, hash.value()); !status) {
        return status.error();
    }
    return place;
}

Result<Json> install_agent(Call &call, const Json &arguments) {
    Fields fields(arguments, "arguments");
    const bool as_service = fields.flag("service", true);
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    const auto service = query_service();
    const auto hash = sha256_of_file(own_path());
    if (!service || !hash) {
        return service ? hash.error() : service.error();
    }
    const std::wstring program = call.paths().agent(hash.value());
    const bool changed = as_service ? !in_place(service.value(), program) : !file_exists(program);
    Json result = Json::object({{"path", to_utf8(program)},
                                {"version", agent_version},
                                {"previous", previous_json(service.value())},
                                {"changed", changed}});
    if (call.dry_run() || !changed) {
        return result;
    }
    {
        // Given back before the service starts, which takes it to look at its journal.
        Call changing(call.context(), false);
        if (const auto status = changing.lock(); !status) {
            return status.error();
        }
        if (const auto placed = place_agent(call.paths()); !placed) {
            return placed.error();
        }
        if (const auto status = as_service ? stop_service() : Status(Unit{}); !status) {
            return status.error();
        }
    }
    if (as_service) {
        if (const auto status = switch_service(program, service.value()); !status) {
            return status.error();
        }
    }
    remove_other_agents(call.paths(), program);
    return result;
}

Result<Json> uninstall_agent(Call &call, const Json &arguments) {
    const auto options = read_uninstall_options(arguments);
    if (!options) {
        return options.error();
    }
    const auto service = query_service();
    if (!service) {
        return service.error();
    }
    const bool present = service.value().has_value() || !list_folder(call.paths().root).empty();
    Json removed = Json::array();
    Json remaining = Json::array();
    const auto result = [&] { return Json::object({{"changed", present}, {"removed", removed}, {"remaining", remaining}}); };
    if (!present || call.dry_run()) {
        if (present && service.value()) {
            removed.push_back(to_utf8(service_name));
        }
        if (present) {
            removed.push_back(to_utf8(call.paths().root));
        }
        return result();
    }
    if (const auto status = refuse_while_installing(call.paths()); !status) {
        return status.error();
    }
    {
        Call changing(call.context(), false);
        if (const auto status = stop_service(); !status) {
            return status.error();
        }
        const auto status = leave_nothing_in_force(changing, options.value().revert);
        if (!status) {
            if (service.value()) {
                (void)start_service(); // as it was: what is in force is watched again
            }
            return status.error();
        }
        call.context().close_engine();
    }
    if (service.value()) {
        if (const auto status = remove_service(); !status) {
            return status.error();
        }
        removed.push_back(to_utf8(service_name));
    }
    remove_files(call.paths(), options.value().keep_store, removed, remaining);
    return result();
}

} // namespace hotpatch
