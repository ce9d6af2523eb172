// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/mitigations.hpp"

#include <string>
#include <string_view>

#include "engine/faults.hpp"
#include "engine/nt.hpp"
#include "engine/threads.hpp"

namespace hotpatch::engine {

namespace {

template <typename T> T policy(HANDLE process, PROCESS_MITIGATION_POLICY which) {
    T value{};
    if (!GetProcessMitigationPolicy(process, which, &value, sizeof value)) {
        value = T{};
    }
    return value;
}

// What a test says that Windows answers about every process (engine/faults.hpp); nothing in a release.
bool answered(std::string_view name) {
    const char *const answers = test_setting("HOTPATCH_MITIGATIONS");
    return answers != nullptr && ("," + std::string(answers) + ",").find("," + std::string(name) + ",") != std::string::npos;
}

bool is_wow64(HANDLE process) {
    ULONG_PTR peb32 = 0;
    return nt::calls().query_process(process, nt::process_wow64, &peb32, sizeof peb32, nullptr) >= 0 && peb32 != 0;
}

bool is_debugged(HANDLE process) {
    DWORD_PTR port = 0;
    return nt::calls().query_process(process, nt::process_debug_port, &port, sizeof port, nullptr) >= 0 && port != 0;
}

// Every thread has a suspend count: the process would neither take a new thread's work nor leave what it is in.
bool is_suspended(HANDLE process) {
    bool all = true, any = false;
    each_thread(process, THREAD_QUERY_INFORMATION, [&](HANDLE thread) {
        ULONG count = 0;
        all = nt::calls().query_thread(thread, nt::thread_suspend_count, &count, sizeof count, nullptr) >= 0 && count != 0;
        any = true;
        return all;
    });
    return any && all;
}

} // namespace

bool is_protected(std::uint32_t pid) {
    const unique_handle process(OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, pid));
    std::uint8_t protection = 0; // PS_PROTECTION; 0 is none
    if (answered("ppl")) {
        return true;
    }
    return process &&
           nt::calls().query_process(process.get(), nt::process_protection, &protection, sizeof protection, nullptr) >= 0 &&
           protection != 0;
}

Conditions read_conditions(HANDLE process, std::uint32_t pid) {
    Conditions found;
    auto &flags = found.mitigations;
    flags.ppl = is_protected(pid);
    flags.acg = policy<PROCESS_MITIGATION_DYNAMIC_CODE_POLICY>(process, ProcessDynamicCodePolicy).ProhibitDynamicCode != 0 ||
                answered("acg");
    const auto signature = policy<PROCESS_MITIGATION_BINARY_SIGNATURE_POLICY>(process, ProcessSignaturePolicy);
    flags.cig = signature.MicrosoftSignedOnly != 0 || signature.StoreSignedOnly != 0 || answered("cig");
    flags.cfg =
        policy<PROCESS_MITIGATION_CONTROL_FLOW_GUARD_POLICY>(process, ProcessControlFlowGuardPolicy).EnableControlFlowGuard !=
            0 ||
        answered("cfg");
    const auto shadow = policy<PROCESS_MITIGATION_USER_SHADOW_STACK_POLICY>(process, ProcessUserShadowStackPolicy);
    flags.cet = shadow.EnableUserShadowStack != 0 || answered("cet");
    found.strict_shadow_stack = shadow.EnableUserShadowStackStrictMode != 0 || answered("strict cet");
    flags.bitness = is_wow64(process) || answered("wow64") ? 32 : 64;
    found.debugged = is_debugged(process);
    found.suspended = is_suspended(process);
    return found;
}

std::optional<Code> forbidding(const Conditions &conditions) {
    const auto &flags = conditions.mitigations;
    if (flags.ppl) {
        return Code::target_protected;
    }
    if (flags.bitness != 64) {
        return Code::target_bitness;
    }
    if (flags.acg) {
        return Code::target_acg;
    }
    if (flags.cig) {
        return Code::target_cig;
    }
    if (conditions.strict_shadow_stack) {
        return Code::target_cet;
    }
    if (conditions.debugged) {
        return Code::target_debugged;
    }
    if (conditions.suspended) {
        return Code::target_suspended;
    }
    return std::nullopt;
}

} // namespace hotpatch::engine
