// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What a program holds of the system's: counted in the system's own lists, because GetProcessHandleCount always says 0 on Wine.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include <windows.h>
#include <winternl.h>

#include <tlhelp32.h>

namespace holdings {

// One entry of SystemHandleInformation, behind a count that fills eight bytes.
struct HandleEntry {
    ULONG owner;
    std::uint8_t type, flags;
    USHORT value;
    void *object;
    ULONG access;
};

inline DWORD count_handles() {
    constexpr auto handle_information = static_cast<SYSTEM_INFORMATION_CLASS>(16);
    constexpr std::size_t head = 8;
    static std::vector<std::uint8_t> buffer(1 << 20); // made once: a later count must not need memory that a test has taken
    ULONG needed = 0;
    constexpr auto too_small = static_cast<NTSTATUS>(0xC0000004); // STATUS_INFO_LENGTH_MISMATCH
    constexpr int most_attempts = 20;
    for (int attempt = 0; attempt < most_attempts; ++attempt) {
        const NTSTATUS status =
            NtQuerySystemInformation(handle_information, buffer.data(), static_cast<ULONG>(buffer.size()), &needed);
        if (status >= 0) {
            break;
        }
        if (status == too_small && needed > buffer.size()) {
            buffer.resize(needed * 2);
        }
        Sleep(5);
    }
    ULONG count = 0;
    std::memcpy(&count, buffer.data(), sizeof count);
    DWORD own = 0;
    for (std::size_t index = 0; index < count && head + (index + 1) * sizeof(HandleEntry) <= buffer.size(); ++index) {
        HandleEntry entry{};
        std::memcpy(&entry, buffer.data() + head + index * sizeof entry, sizeof entry);
        own += entry.owner == GetCurrentProcessId() ? 1 : 0;
    }
    return own;
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
