// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Starting other programs: with their output read, or detached so that they outlive us.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "result.hpp"

namespace hotpatch {

// Names a process for good: its number may be used again, its number and time of creation together may not.
struct ProcessIdentity {
    std::uint32_t pid = 0;
    std::uint64_t created = 0; // FILETIME
};

// Runs a program (full path) to its end and gives its exit code. `output` receives what it writes to standard output and standard
// error, piece by piece. After the limit it is ended, which is an error. The child inherits nothing but its standard handles.
[[nodiscard]] Result<std::uint32_t> run_program(const std::wstring &program, const std::wstring &arguments,
                                                std::uint32_t limit_ms, const std::function<void(std::string_view)> &output);

// Starts a program that no longer depends on us: no console, none of our handles, outside of our job object (WinRM ends the
// processes of its job when the connection drops). It only begins to run when `prepared` returned success.
[[nodiscard]] Status start_detached(const std::wstring &program, const std::wstring &arguments,
                                    const std::function<Status(const ProcessIdentity &)> &prepared);

[[nodiscard]] ProcessIdentity own_identity();
[[nodiscard]] bool is_running(const ProcessIdentity &process);

} // namespace hotpatch
