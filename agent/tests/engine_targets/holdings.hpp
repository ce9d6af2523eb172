// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What a program holds of the system's: counted one by one, because GetProcessHandleCount always says 0 on Wine.
#pragma once

#include <cstdint>

#include <windows.h>

#include <tlhelp32.h>

namespace holdings {

// Every value a handle can have, up to far more of them than these programs open, is asked for: the list of all handles of the
// system makes Wine's server fall over when it meets a process that is just starting or ending.
inline DWORD count_handles() {
    constexpr std::uintptr_t step = 4, highest = 4 * 4096;
    DWORD count = 0, flags = 0;
    for (std::uintptr_t value = step; value <= highest; value += step) {
        count += GetHandleInformation(reinterpret_cast<HANDLE>(value), &flags) != FALSE ? 1 : 0;
    }
    return count;
}

inline DWORD count_threads() {
    const HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    THREADENTRY32 entry{};
    entry.dwSize = sizeof entry;
    DWORD count = 0;
    for (BOOL more = Thread32First(snapshot, &entry); more; more = Thread32Next(snapshot, &entry)) {
        count += entry.th32OwnerProcessID == GetCurrentProcessId() ? 1 : 0;
    }
    CloseHandle(snapshot);
    return count;
}

} // namespace holdings
