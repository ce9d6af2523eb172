// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What a process forbids, and whether it may be patched at all. Only read; nothing is ever worked around.
#pragma once

#include <optional>

#include <windows.h>

#include "engine.hpp"

namespace hotpatch::engine {

// What was found about a process, apart from its code.
struct Conditions {
    Mitigations mitigations;
    bool strict_shadow_stack = false; // EnableUserShadowStackStrictMode
    bool debugged = false;
    bool suspended = false; // every thread, by someone else
};

// PPL can be seen with PROCESS_QUERY_LIMITED_INFORMATION, which a protected process grants.
[[nodiscard]] bool is_protected(std::uint32_t pid);

// `process` needs PROCESS_QUERY_INFORMATION. A policy this Windows does not know counts as not set.
[[nodiscard]] Conditions read_conditions(HANDLE process, std::uint32_t pid);

// The first condition that forbids patching, in the order in which they are hardest to change.
[[nodiscard]] std::optional<Code> forbidding(const Conditions &conditions);

} // namespace hotpatch::engine
