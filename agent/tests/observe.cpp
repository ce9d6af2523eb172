// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// observe PID: how many handles and threads a process has.
// observe: what one listing of the host's processes costs: nanoseconds of processor time.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <windows.h>

#include <winternl.h>

namespace {

// The calls are looked up as the agent does it; import libraries do not have them all.
using QuerySystem = NTSTATUS(NTAPI *)(SYSTEM_INFORMATION_CLASS, void *, ULONG, ULONG *);

QuerySystem query_system() {
    const auto found = GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "NtQuerySystemInformation");
    return reinterpret_cast<QuerySystem>(reinterpret_cast<void *>(found));
}

std::vector<unsigned char> list_processes(QuerySystem query) {
    std::vector<unsigned char> buffer(256 * 1024);
    return query(SystemProcessInformation, buffer.data(), static_cast<ULONG>(buffer.size()), nullptr) >= 0
               ? buffer
               : std::vector<unsigned char>();
}

int print_usage(DWORD pid) {
    const auto buffer = list_processes(query_system());
    if (buffer.empty()) {
        return 1;
    }
    for (const unsigned char *place = buffer.data();;) {
        const auto *record = reinterpret_cast<const SYSTEM_PROCESS_INFORMATION *>(place);
        if (reinterpret_cast<ULONG_PTR>(record->UniqueProcessId) == pid) {
            std::printf("%lu %lu\n", record->HandleCount, record->NumberOfThreads);
            return 0;
        }
        if (record->NextEntryOffset == 0) {
            return 1;
        }
        place += record->NextEntryOffset;
    }
}

unsigned long long processor_time() {
    FILETIME created{}, ended{}, kernel{}, user{};
    GetProcessTimes(GetCurrentProcess(), &created, &ended, &kernel, &user);
    const auto value = [](const FILETIME &time) { return (1ULL << 32) * time.dwHighDateTime + time.dwLowDateTime; };
    return (value(kernel) + value(user)) * 100;
}

// Times are told in hundredths of a second, so many listings are measured together.
int print_cost() {
    constexpr unsigned listings = 2000;
    const auto query = query_system();
    const auto before = processor_time();
    for (unsigned index = 0; index < listings; ++index) {
        if (list_processes(query).empty()) {
            return 1;
        }
    }
    std::printf("%llu\n", (processor_time() - before) / listings);
    return 0;
}

} // namespace

int wmain(int count, wchar_t **values) {
    return count == 2 ? print_usage(static_cast<DWORD>(_wtol(values[1]))) : print_cost();
}
