// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/candidates.hpp"

#include <algorithm>

#include "engine/mitigations.hpp"
#include "text.hpp"

namespace hotpatch::engine {

namespace {

// The size comes with the module list, so other modules' memory is not read at all.
bool has_identity(HANDLE process, const Module &module, const Target &target) {
    if (module.image_size != target.image_size) {
        return false;
    }
    const auto header = read_loaded_header(process, module.base);
    return header && header->timestamp == target.timestamp && header->checksum == target.checksum &&
           header->image_size == target.image_size;
}

std::wstring system_folder() {
    std::wstring path(MAX_PATH, L'\0');
    path.resize(GetSystemDirectoryW(path.data(), static_cast<UINT>(path.size())));
    return path;
}

bool exists(const std::wstring &path) {
    return GetFileAttributesW(path.c_str()) != INVALID_FILE_ATTRIBUTES;
}

bool is_program(std::wstring_view name) {
    constexpr std::wstring_view extension = L".exe";
    return name.size() > extension.size() && equal_ignoring_case(name.substr(name.size() - extension.size()), extension);
}

// A process with a program that Windows does not let the agent look into.
struct Closed {
    std::wstring image; // path of the program, empty when Windows does not tell even that
    std::wstring name;
    bool is_protected = false;
};

// Whether the module's presence cannot be excluded by what Windows tells of every process. The kernel's own processes (System,
// Registry, Memory Compression) run no modules at all. A program is the first module of its own process. A library may be
// anywhere, but a protected process loads none but those signed for it, which lie with Windows or with its own program: without
// this every report would name each of Windows' protected processes for every library of anybody's.
bool may_run(const Closed &process, const Target &target) {
    const auto name = to_wide(target.name);
    if (!is_program(process.name)) {
        return false;
    }
    if (is_program(name)) {
        return equal_ignoring_case(process.name, name);
    }
    const auto folder = process.image.substr(0, process.image.size() - file_name_of(process.image).size());
    return !process.is_protected || folder.empty() || exists(folder + name) || exists(system_folder() + L"\\" + name);
}

ProcessReport report_closed(const ProcessEntry &entry, const Closed &process, const Error &error, const Target &target) {
    ProcessReport report;
    report.pid = entry.id.pid;
    report.created = entry.id.created;
    report.image = to_utf8(process.image.empty() ? process.name : process.image);
    report.threads = entry.threads;
    report.mitigations.ppl = process.is_protected;
    report.state = State::unknown;
    report.verdict = Verdict::error;
    report.error = {process.is_protected ? Code::target_protected : error.code,
                    "Windows does not let the agent look into the process, so it may run " + target.name, error.where,
                    error.win32};
    return report;
}

} // namespace

Result<std::vector<Candidate>> candidates_in(const ProcessEntry &entry, const Target &target) {
    std::vector<Candidate> candidates;
    const auto reading = open_process(entry.id, Access::read);
    if (!reading.ok()) {
        return reading.error();
    }
    const auto modules = list_modules(reading.value());
    if (!modules.ok()) {
        return modules.error();
    }
    const auto name = to_wide(target.name);
    for (const auto &module : modules.value()) {
        const bool same = has_identity(reading.value().handle.get(), module, target);
        if (!same && !equal_ignoring_case(file_name_of(module.path), name)) {
            continue;
        }
        auto process = open_process(entry.id, Access::read);
        if (process.ok()) {
            candidates.push_back({std::move(process.value()), module, entry.threads, same});
        }
    }
    return candidates;
}

Result<Candidates> find_candidates(const Target &target, std::span<const std::uint32_t> pids) {
    auto processes = list_processes();
    if (!processes.ok()) {
        return processes.error();
    }
    Candidates all;
    for (const auto &entry : processes.value()) {
        const bool wanted = pids.empty() || std::find(pids.begin(), pids.end(), entry.id.pid) != pids.end();
        if (!wanted || entry.id.pid == GetCurrentProcessId()) {
            continue;
        }
        auto found = candidates_in(entry, target);
        if (found.ok()) {
            std::move(found.value().begin(), found.value().end(), std::back_inserter(all.modules));
        } else if (found.error().code == Code::target_access_denied) {
            const Closed process{image_path(entry.id), entry.name, is_protected(entry.id.pid)};
            if (!pids.empty() || may_run(process, target)) { // who names a process wants to know of it in any case
                all.closed.push_back(report_closed(entry, process, found.error(), target));
            }
        }
    }
    return all;
}

} // namespace hotpatch::engine
