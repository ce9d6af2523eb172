// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/nt.hpp"

#include <bit>

namespace hotpatch::engine::nt {

namespace {

template <typename T> void resolve(T &call, HMODULE module, const char *name) {
    call = std::bit_cast<T>(GetProcAddress(module, name));
}

Calls resolve_all() {
    Calls calls{};
    const HMODULE ntdll = GetModuleHandleW(L"ntdll.dll");
    resolve(calls.get_next_thread, ntdll, "NtGetNextThread");
    resolve(calls.suspend_process, ntdll, "NtSuspendProcess");
    resolve(calls.resume_process, ntdll, "NtResumeProcess");
    resolve(calls.write_virtual_memory, ntdll, "NtWriteVirtualMemory");
    resolve(calls.query_process, ntdll, "NtQueryInformationProcess");
    resolve(calls.query_thread, ntdll, "NtQueryInformationThread");
    resolve(calls.query_system, ntdll, "NtQuerySystemInformation");
    resolve(calls.create_thread, ntdll, "NtCreateThreadEx");
    resolve(calls.set_valid_call_targets, GetModuleHandleW(L"kernelbase.dll"), "SetProcessValidCallTargets");
    calls.wine = GetProcAddress(ntdll, "wine_get_version") != nullptr;
    return calls;
}

std::int64_t frequency() noexcept {
    LARGE_INTEGER value{};
    QueryPerformanceFrequency(&value);
    return value.QuadPart;
}

} // namespace

const Calls &calls() {
    static const Calls resolved = resolve_all();
    return resolved;
}

std::int64_t ticks() noexcept {
    LARGE_INTEGER value{};
    QueryPerformanceCounter(&value);
    return value.QuadPart;
}

double microseconds(std::int64_t count) noexcept {
    static const std::int64_t per_second = frequency();
    return static_cast<double>(count) * 1e6 / static_cast<double>(per_second);
}

} // namespace hotpatch::engine::nt
