// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The few things that differ between a real Windows host and a host of the test lab. One of two files is linked:
// platform_windows.cpp into hotpatch-agent.exe, platform_lab.cpp into hotpatch-agent-lab.exe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <windows.h>

#include "result.hpp"

namespace hotpatch::platform {

// "release" or "lab", as the reply's agent.build says.
extern const std::string_view build;

struct VbsStatus {
    std::string status; // off, enabled, running, unknown
    std::string source; // where it was read
};
[[nodiscard]] VbsStatus vbs_status();

// on, off, unsupported, unknown
[[nodiscard]] std::string secure_boot();

// Azure's Connected Machine agent, through which Windows Server 2025 gets its hotpatch licence.
struct ArcStatus {
    bool installed = false;
    bool connected = false;
    std::string version; // empty when not known
};
[[nodiscard]] ArcStatus arc_status();

struct InstalledUpdate {
    std::string kb;
    std::optional<std::uint64_t> installed; // seconds since 1970 UTC
};
// Updates Windows knows of besides those in the registry of Component Based Servicing.
[[nodiscard]] std::vector<InstalledUpdate> more_updates();

// The command line that installs a package file, and whether its output tells progress in percent (DISM).
struct InstallerCommand {
    std::wstring program; // full path
    std::wstring arguments;
    bool tells_progress = false;
};
[[nodiscard]] InstallerCommand installer_command(const std::wstring &package);

[[nodiscard]] Status reboot(std::uint32_t delay_s, const std::wstring &message);

// Accounts that mean Administrators on this platform besides the group itself.
[[nodiscard]] bool stands_for_administrators(PSID sid);

} // namespace hotpatch::platform
