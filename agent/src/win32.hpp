// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Errors of Windows as errors of ours, and the few calls of Windows that every part needs.
#pragma once

#include <cstdint>
#include <string>

#include "result.hpp"

namespace hotpatch {

// An error with Windows' number and words: "<what>: <what Windows says>". The code passed in is used as it is, except that
// ERROR_ACCESS_DENIED makes agent_internal into access_denied: the caller lacks a right, nothing is broken.
[[nodiscard]] Error windows_error(Code code, std::string what, std::string where, std::uint32_t number);
// The same with GetLastError, which must be the very last call before.
[[nodiscard]] Error last_error(Code code, std::string what, std::string where);

[[nodiscard]] std::string windows_message(std::uint32_t number);

// Seconds since 1970 UTC, and the same of a FILETIME's 64 bits.
[[nodiscard]] std::uint64_t now();
[[nodiscard]] std::uint64_t seconds_of_filetime(std::uint64_t filetime);

// The full path of this program.
[[nodiscard]] std::wstring own_path();

// A random UUID as text, lower case, without braces.
[[nodiscard]] Result<std::string> random_uuid();

// True when the caller's token holds the Administrators group enabled, or is SYSTEM: who may use the agent at all.
[[nodiscard]] bool is_administrator();

} // namespace hotpatch
