// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The few native calls the engine needs, under their own names. They are looked up once, never imported: some are missing on
// older Windows and on Wine (NtCreateThreadEx flags, SetProcessValidCallTargets), and the engine then takes the path that needs
// none. Class numbers and structures are those of the public phnt headers.
#pragma once

#include <cstdint>

#include <windows.h>
#include <winternl.h>

namespace hotpatch::engine::nt {

inline constexpr NTSTATUS status_success = 0;
inline constexpr NTSTATUS status_info_length_mismatch = static_cast<NTSTATUS>(0xC0000004);

inline constexpr int process_debug_port = 7;     // ProcessDebugPort
inline constexpr int process_wow64 = 26;         // ProcessWow64Information
inline constexpr int process_protection = 61;    // ProcessProtectionInformation, since Windows 8.1
inline constexpr int thread_basic = 0;           // ThreadBasicInformation
inline constexpr int thread_start_address = 9;   // ThreadQuerySetWin32StartAddress
inline constexpr int thread_suspend_count = 35;  // ThreadSuspendCount, since Windows 8.1
inline constexpr int system_processes = 5;       // SystemProcessInformation
inline constexpr ULONG skip_thread_attach = 0x2; // THREAD_CREATE_FLAGS_SKIP_THREAD_ATTACH
inline constexpr ULONG create_suspended = 0x1;   // THREAD_CREATE_FLAGS_CREATE_SUSPENDED
inline constexpr int wait_reason_suspended = 5;  // KWAIT_REASON Suspended
inline constexpr int thread_state_waiting = 5;   // KTHREAD_STATE Waiting

struct ThreadBasicInformation {
    NTSTATUS exit_status;
    std::uint64_t teb;
    CLIENT_ID client_id;
    ULONG_PTR affinity;
    LONG priority;
    LONG base_priority;
};

// One thread of SystemProcessInformation, which follows its process' record.
struct SystemThread {
    LARGE_INTEGER kernel_time, user_time, create_time;
    ULONG wait_time;
    PVOID start_address;
    CLIENT_ID client_id;
    LONG priority, base_priority;
    ULONG context_switches, state, wait_reason;
};

// The head of one process' record of SystemProcessInformation.
struct SystemProcess {
    ULONG next;
    ULONG thread_count;
    LARGE_INTEGER working_set_private;
    ULONG hard_faults, threads_high;
    ULONGLONG cycles;
    LARGE_INTEGER create_time, user_time, kernel_time;
    UNICODE_STRING image;
    LONG priority;
    HANDLE pid, parent;
    ULONG handles, session;
    ULONG_PTR key;
    SIZE_T counters[12];
    LARGE_INTEGER io[6];
};
static_assert(sizeof(SystemProcess) == 0x100, "the threads follow at this offset on x64");
static_assert(sizeof(SystemThread) == 0x50);

struct Calls {
    NTSTATUS(NTAPI *get_next_thread)(HANDLE, HANDLE, ACCESS_MASK, ULONG, ULONG, PHANDLE);
    NTSTATUS(NTAPI *suspend_process)(HANDLE);
    NTSTATUS(NTAPI *resume_process)(HANDLE);
    NTSTATUS(NTAPI *write_virtual_memory)(HANDLE, PVOID, const void *, SIZE_T, SIZE_T *);
    NTSTATUS(NTAPI *query_process)(HANDLE, int, PVOID, ULONG, PULONG);
    NTSTATUS(NTAPI *query_thread)(HANDLE, int, PVOID, ULONG, PULONG);
    NTSTATUS(NTAPI *query_system)(int, PVOID, ULONG, PULONG);
    NTSTATUS(NTAPI *create_thread)(PHANDLE, ACCESS_MASK, PVOID, HANDLE, PVOID, PVOID, ULONG, SIZE_T, SIZE_T, SIZE_T, PVOID);
    BOOL(WINAPI *set_valid_call_targets)
    (HANDLE, PVOID, SIZE_T, ULONG, CFG_CALL_TARGET_INFO *); // null where CFG's map cannot be set
    bool wine; // the host is Wine, where a process' suspension is counted apart from its threads'
};

// The calls of this host. Every ntdll member is present on each Windows the agent supports.
[[nodiscard]] const Calls &calls();

// The monotonic clock in ticks, and ticks as microseconds.
[[nodiscard]] std::int64_t ticks() noexcept;
[[nodiscard]] double microseconds(std::int64_t ticks) noexcept;

} // namespace hotpatch::engine::nt
