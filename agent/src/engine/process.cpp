// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/process.hpp"

#include <array>
#include <cstddef>
#include <cstring>

#include "engine/memory.hpp"
#include "engine/nt.hpp"
#include "text.hpp"

namespace hotpatch::engine {

namespace {

// Places in the PEB and the loader's structures on x64; unchanged since Windows Vista (phnt: ntpebteb.h, ntldr.h).
constexpr std::uint64_t peb_ldr = 0x18;
constexpr std::uint64_t ldr_load_order = 0x10;

struct LoaderEntry {
    std::uint64_t next, previous;
    std::array<std::uint64_t, 4> other_links;
    std::uint64_t base, entry_point;
    std::uint32_t image_size, padding;
    std::uint16_t path_bytes, path_capacity;
    std::uint32_t path_padding;
    std::uint64_t path;
};
static_assert(offsetof(LoaderEntry, base) == 0x30 && offsetof(LoaderEntry, image_size) == 0x40 &&
              offsetof(LoaderEntry, path) == 0x50);

constexpr std::size_t most_modules = 8192; // a circular list that is torn must not hold the reader for ever
constexpr int read_attempts = 5;

constexpr std::uint64_t no_loader = 0;

// The head of the loader's list; no_loader where there is none (yet), nothing when it cannot be read.
std::optional<std::uint64_t> load_order_head(HANDLE process) {
    PROCESS_BASIC_INFORMATION info{};
    if (nt::calls().query_process(process, ProcessBasicInformation, &info, sizeof info, nullptr) < 0) {
        return std::nullopt;
    }
    const auto peb = reinterpret_cast<std::uint64_t>(info.PebBaseAddress);
    if (peb == 0) {
        return no_loader;
    }
    const auto ldr = read_value<std::uint64_t>(process, peb + peb_ldr);
    if (!ldr) {
        return std::nullopt;
    }
    return *ldr == 0 ? no_loader : *ldr + ldr_load_order;
}

std::optional<std::wstring> read_path(HANDLE process, const LoaderEntry &entry) {
    std::wstring path(entry.path_bytes / sizeof(wchar_t), L'\0');
    if (!read_memory(process, entry.path, {reinterpret_cast<std::uint8_t *>(path.data()), path.size() * sizeof(wchar_t)})) {
        return std::nullopt;
    }
    return path;
}

// One walk of the list, or nothing when it changed under the reader.
std::optional<std::vector<Module>> walk_modules(HANDLE process, std::uint64_t head) {
    std::vector<Module> modules;
    auto link = read_value<std::uint64_t>(process, head);
    while (link && *link != head && modules.size() < most_modules) {
        const auto entry = read_value<LoaderEntry>(process, *link);
        if (!entry) {
            return std::nullopt;
        }
        auto path = read_path(process, *entry);
        if (!path) {
            return std::nullopt;
        }
        if (entry->base != 0) {
            modules.push_back({entry->base, entry->image_size, std::move(*path)});
        }
        link = entry->next;
    }
    if (!link || *link != head) {
        return std::nullopt;
    }
    return modules;
}

std::uint64_t filetime(const FILETIME &time) {
    return (std::uint64_t{time.dwHighDateTime} << 32) | time.dwLowDateTime;
}

std::wstring path_of(HANDLE process) {
    std::wstring path(32768, L'\0');
    auto length = static_cast<DWORD>(path.size());
    path.resize(QueryFullProcessImageNameW(process, 0, path.data(), &length) ? length : 0);
    return path;
}

} // namespace

bool Process::exited() const noexcept {
    return WaitForSingleObject(handle.get(), 0) == WAIT_OBJECT_0;
}

Result<std::vector<ProcessEntry>> list_processes() {
    std::vector<std::uint8_t> buffer(256 * 1024);
    NTSTATUS status = 0;
    ULONG needed = 0;
    while ((status = nt::calls().query_system(nt::system_processes, buffer.data(), static_cast<ULONG>(buffer.size()), &needed)) ==
           nt::status_info_length_mismatch) {
        buffer.resize(buffer.size() * 2);
    }
    if (status < 0) {
        return Error{Code::agent_internal, "the processes of the host cannot be listed", "", static_cast<std::uint32_t>(status)};
    }
    std::vector<ProcessEntry> entries;
    for (std::size_t offset = 0;;) {
        nt::SystemProcess record{};
        std::memcpy(&record, buffer.data() + offset, sizeof record);
        const auto pid = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(record.pid));
        if (pid != 0) {
            const auto &name = record.image;
            entries.push_back(
                {{pid, static_cast<std::uint64_t>(record.create_time.QuadPart)},
                 record.thread_count,
                 name.Buffer == nullptr ? std::wstring() : std::wstring(name.Buffer, name.Length / sizeof(wchar_t))});
        }
        if (record.next == 0) {
            return entries;
        }
        offset += record.next;
    }
}

Result<Process> open_process(const ProcessId &id, Access access) {
    constexpr DWORD reading = PROCESS_QUERY_INFORMATION | PROCESS_VM_READ | SYNCHRONIZE;
    constexpr DWORD changing = reading | PROCESS_VM_OPERATION | PROCESS_VM_WRITE | PROCESS_SUSPEND_RESUME |
                               PROCESS_CREATE_THREAD | PROCESS_SET_INFORMATION;
    Process process{id, unique_handle(OpenProcess(access == Access::read ? reading : changing, FALSE, id.pid)), {}};
    if (!process.handle) {
        const DWORD error = GetLastError();
        const Code code = error == ERROR_INVALID_PARAMETER ? Code::target_exited : Code::target_access_denied;
        return Error{code, "", "process " + std::to_string(id.pid), error};
    }
    FILETIME created{}, ended{}, kernel{}, user{};
    if (!GetProcessTimes(process.handle.get(), &created, &ended, &kernel, &user) || filetime(created) != id.created ||
        process.exited()) {
        return Error{Code::target_exited, "", "process " + std::to_string(id.pid), 0};
    }
    process.image = path_of(process.handle.get());
    return process;
}

std::wstring image_path(const ProcessId &id) {
    const unique_handle process(OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, id.pid));
    return process ? path_of(process.get()) : std::wstring();
}

Result<std::vector<Module>> list_modules(const Process &process) {
    for (int attempt = 0; attempt < read_attempts; ++attempt) {
        const auto head = load_order_head(process.handle.get());
        if (!head) {
            break;
        }
        if (*head == no_loader) {
            return std::vector<Module>{};
        }
        if (auto modules = walk_modules(process.handle.get(), *head)) {
            return std::move(*modules);
        }
        Sleep(1);
    }
    return Error{process.exited() ? Code::target_exited : Code::target_access_denied, "the list of modules cannot be read",
                 "process " + std::to_string(process.id.pid), GetLastError()};
}

std::optional<std::uint64_t> module_list_tail(HANDLE process) {
    const auto head = load_order_head(process);
    return head && *head != no_loader ? read_value<std::uint64_t>(process, *head + sizeof(std::uint64_t)) : std::nullopt;
}

std::map<std::uint32_t, std::string> service_names() {
    std::map<std::uint32_t, std::string> names;
    SC_HANDLE manager = OpenSCManagerW(nullptr, nullptr, SC_MANAGER_ENUMERATE_SERVICE);
    if (manager == nullptr) {
        return names;
    }
    std::vector<std::uint8_t> buffer(256 * 1024); // the most the call can give in one go
    DWORD needed = 0, count = 0, resume = 0;
    BOOL done = FALSE;
    do {
        done = EnumServicesStatusExW(manager, SC_ENUM_PROCESS_INFO, SERVICE_WIN32, SERVICE_ACTIVE, buffer.data(),
                                     static_cast<DWORD>(buffer.size()), &needed, &count, &resume, nullptr);
        if (!done && GetLastError() != ERROR_MORE_DATA) {
            break;
        }
        const auto *services = reinterpret_cast<const ENUM_SERVICE_STATUS_PROCESSW *>(buffer.data());
        for (DWORD index = 0; index < count; ++index) {
            auto &name = names[services[index].ServiceStatusProcess.dwProcessId];
            name += (name.empty() ? "" : ",") + to_utf8(services[index].lpServiceName);
        }
    } while (!done);
    CloseServiceHandle(manager);
    return names;
}

} // namespace hotpatch::engine
