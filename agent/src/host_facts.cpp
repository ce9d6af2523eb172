// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "host_facts.hpp"

#include <algorithm>
#include <array>
#include <map>

#include <windows.h>

#include "platform.hpp"
#include "registry.hpp"
#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

constexpr const wchar_t *current_version = L"SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion";
constexpr const wchar_t *servicing = L"SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Component Based Servicing";
constexpr const wchar_t *windows_update = L"SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\WindowsUpdate\\Auto Update";
constexpr const wchar_t *session_manager = L"SYSTEM\\CurrentControlSet\\Control\\Session Manager";
constexpr const wchar_t *computer_name = L"SYSTEM\\CurrentControlSet\\Control\\ComputerName";

Json text_or_null(const std::optional<std::string> &text) {
    return text ? Json(*text) : Json();
}
Json number_or_null(const std::optional<std::uint64_t> &number) {
    return number ? Json(*number) : Json();
}

std::string computer() {
    std::array<wchar_t, 256> name{};
    auto size = static_cast<DWORD>(name.size());
    return GetComputerNameExW(ComputerNamePhysicalNetBIOS, name.data(), &size) != FALSE ? to_utf8(name.data()) : std::string();
}

std::string architecture() {
    SYSTEM_INFO info{};
    GetNativeSystemInfo(&info);
    switch (info.wProcessorArchitecture) {
    case PROCESSOR_ARCHITECTURE_AMD64:
        return "x64";
    case PROCESSOR_ARCHITECTURE_ARM64:
        return "arm64";
    default:
        return "other";
    }
}

// CurrentState of a package in the servicing registry (CBS): 0x70 (112) installed, 0x60 (96) installed after the reboot, 0x40
// (64) staged.
std::optional<std::string> package_state(std::uint64_t state) {
    switch (state) {
    case 112:
        return "installed";
    case 96:
        return "install_pending";
    case 80:
        return "superseded";
    case 64:
        return "staged";
    default:
        return std::nullopt;
    }
}

// "Package_for_KB5082063~31bf3856ad364e35~amd64~~10.0.1.0" names KB5082063; a cumulative update is called Package_for_RollupFix
// and names its KB only in InstallName or InstallLocation, "...\Windows10.0-KB5082063-x64.cab\".
std::optional<std::string> kb_in(std::wstring_view text) {
    const auto start = text.find(L"KB");
    if (start == std::wstring_view::npos) {
        return std::nullopt;
    }
    std::size_t end = start + 2;
    while (end < text.size() && text[end] >= L'0' && text[end] <= L'9') {
        ++end;
    }
    const std::size_t digits = end - start - 2;
    return digits >= 6 && digits <= 8 ? std::optional(to_utf8(text.substr(start, end - start))) : std::nullopt;
}

std::optional<std::string> kb_of_package(const std::wstring &name, const std::wstring &key) {
    if (auto kb = kb_in(name)) {
        return kb;
    }
    if (!name.starts_with(L"Package_for_")) {
        return std::nullopt;
    }
    for (const wchar_t *value : {L"InstallLocation", L"InstallName"}) {
        if (const auto text = registry::read_text(key, value)) {
            if (auto kb = kb_in(to_wide(*text))) {
                return kb;
            }
        }
    }
    return std::nullopt;
}

std::optional<std::uint64_t> install_time(const std::wstring &key) {
    const auto high = registry::read_number(key, L"InstallTimeHigh");
    const auto low = registry::read_number(key, L"InstallTimeLow");
    return high && low ? std::optional(seconds_of_filetime((*high << 32U) | *low)) : registry::written(key);
}

// Pairs of names for the next boot: "\\??\\C:\\new.dll", then "!\\??\\C:\\old.dll" (replace it) or nothing (remove the first).
std::vector<std::wstring> pending_file_renames() {
    return registry::read_list(session_manager, L"PendingFileRenameOperations");
}

std::wstring_view path_of_rename(std::wstring_view name) {
    constexpr std::wstring_view native = L"\\??\\";
    name.remove_prefix(name.starts_with(L'!') ? 1 : 0);
    name.remove_prefix(name.starts_with(native) ? native.size() : 0);
    return name;
}

struct Update {
    std::string state;
    std::optional<std::uint64_t> installed;
};

// Several packages may stand for one KB; the one that says most about it wins.
int weight(std::string_view state) {
    return state == "installed" ? 3 : state == "install_pending" ? 2 : state == "staged" ? 1 : 0;
}

} // namespace

Json host_section() {
    const auto text = [](const wchar_t *name) { return registry::read_text(current_version, name); };
    const auto number = [](const wchar_t *name) { return registry::read_number(current_version, name); };
    auto name = text(L"ProductName");
    const auto build = number(L"CurrentBuild");
    return Json::object({{"computer_name", computer()},
                         {"product_name", text_or_null(name)},
                         {"edition_id", text_or_null(text(L"EditionID"))},
                         {"installation_type", text_or_null(text(L"InstallationType"))},
                         {"display_version", text_or_null(text(L"DisplayVersion"))},
                         {"current_build", number_or_null(build)},
                         {"ubr", number_or_null(number(L"UBR"))},
                         {"architecture", architecture()}});
}

Json updates_section() {
    std::map<std::string, Update> updates;
    const std::wstring packages = std::wstring(servicing) + L"\\Packages";
    for (const std::wstring &package : registry::subkeys(packages)) {
        const std::wstring key = packages + L"\\" + package;
        const auto kb = kb_of_package(package, key);
        const auto number = registry::read_number(key, L"CurrentState");
        const auto state = number ? package_state(*number) : std::nullopt;
        if (!kb || !state) {
            continue;
        }
        const auto [entry, inserted] = updates.try_emplace(*kb, Update{*state, install_time(key)});
        if (!inserted && weight(*state) > weight(entry->second.state)) {
            entry->second = Update{*state, install_time(key)};
        }
    }
    for (const auto &update : platform::more_updates()) {
        updates.try_emplace(update.kb, Update{"installed", update.installed});
    }
    Json list = Json::array();
    for (const auto &[kb, update] : updates) {
        list.push_back({{"kb", kb}, {"state", update.state}, {"installed", number_or_null(update.installed)}});
    }
    return list;
}

Json arc_section() {
    const auto arc = platform::arc_status();
    return Json::object({{"installed", arc.installed},
                         {"connected", arc.connected},
                         {"version", arc.version.empty() ? Json() : Json(arc.version)}});
}

Json pending_reboot_section() {
    Json reasons = Json::array();
    if (registry::exists(std::wstring(servicing) + L"\\RebootPending") ||
        registry::exists(std::wstring(servicing) + L"\\RebootInProgress")) {
        reasons.push_back("component_based_servicing");
    }
    if (registry::exists(std::wstring(windows_update) + L"\\RebootRequired")) {
        reasons.push_back("windows_update");
    }
    if (!pending_file_renames().empty()) {
        reasons.push_back("file_rename");
    }
    const auto active = registry::read_text(std::wstring(computer_name) + L"\\ActiveComputerName", L"ComputerName");
    const auto next = registry::read_text(std::wstring(computer_name) + L"\\ComputerName", L"ComputerName");
    if (active && next && !equal_ignoring_case(to_wide(*active), to_wide(*next))) {
        reasons.push_back("computer_rename");
    }
    return Json::object({{"required", !reasons.empty()}, {"reasons", reasons}});
}

bool is_replaced_at_boot(std::wstring_view path) {
    const auto names = pending_file_renames();
    return std::any_of(names.begin(), names.end(),
                       [&](const std::wstring &name) { return equal_ignoring_case(path_of_rename(name), path); });
}

bool reboot_is_pending() {
    return pending_reboot_section()["required"].get<bool>();
}

} // namespace hotpatch
