// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The real Windows host. This file is in hotpatch-agent.exe only.
#include "platform.hpp"

#include <array>

#include <shlobj.h>

#include "child_process.hpp"
#include "files.hpp"
#include "handle.hpp"
#include "json.hpp"
#include "registry.hpp"
#include "text.hpp"
#include "win32.hpp"
#include "wmi.hpp"

namespace hotpatch::platform {

const std::string_view build = "release";

namespace {

constexpr std::uint64_t first_build_with_dism_for_msu = 26100;

std::wstring system_folder() {
    std::array<wchar_t, MAX_PATH> folder{};
    const UINT length = GetSystemDirectoryW(folder.data(), static_cast<UINT>(folder.size()));
    return {folder.data(), length};
}

std::wstring program_files() {
    PWSTR folder = nullptr;
    const HRESULT result = SHGetKnownFolderPath(FOLDERID_ProgramFiles, KF_FLAG_DEFAULT, nullptr, &folder);
    const std::wstring found = SUCCEEDED(result) ? folder : L"";
    CoTaskMemFree(folder);
    return found;
}

// "4/14/2026" as Win32_QuickFixEngineering gives it whatever the host's language, at midnight UTC.
std::optional<std::uint64_t> seconds_of_date(const std::string &text) {
    const auto first = text.find('/');
    const auto second = first == std::string::npos ? first : text.find('/', first + 1);
    if (second == std::string::npos) {
        return std::nullopt;
    }
    const auto part = [&](std::size_t begin, std::size_t end) {
        return static_cast<WORD>(std::strtoul(text.substr(begin, end - begin).c_str(), nullptr, 10));
    };
    SYSTEMTIME date{};
    date.wMonth = part(0, first);
    date.wDay = part(first + 1, second);
    date.wYear = part(second + 1, text.size());
    FILETIME time{};
    if (SystemTimeToFileTime(&date, &time) == FALSE) {
        return std::nullopt;
    }
    return seconds_of_filetime((static_cast<std::uint64_t>(time.dwHighDateTime) << 32U) | time.dwLowDateTime);
}

// Shutting down needs a privilege that administrators hold but that is not switched on.
Status enable_shutdown_privilege() {
    unique_handle token;
    TOKEN_PRIVILEGES wanted{};
    wanted.PrivilegeCount = 1;
    wanted.Privileges[0].Attributes = SE_PRIVILEGE_ENABLED;
    const bool adjusted = OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY | TOKEN_ADJUST_PRIVILEGES, token.out()) != FALSE &&
                          LookupPrivilegeValueW(nullptr, SE_SHUTDOWN_NAME, &wanted.Privileges[0].Luid) != FALSE &&
                          AdjustTokenPrivileges(token.get(), FALSE, &wanted, 0, nullptr, nullptr) != FALSE &&
                          GetLastError() == ERROR_SUCCESS;
    return adjusted ? Status(Unit{}) : Status(last_error(Code::access_denied, "The right to shut the host down is missing", {}));
}

} // namespace

VbsStatus vbs_status() {
    static const std::array<std::string, 3> names{"off", "enabled", "running"}; // 0, 1 and 2 of VirtualizationBasedSecurityStatus
    const std::wstring property = L"VirtualizationBasedSecurityStatus";
    const auto rows = wmi::query(L"root\\Microsoft\\Windows\\DeviceGuard", L"SELECT * FROM Win32_DeviceGuard", {property});
    if (rows && !rows.value().empty()) {
        const auto *status = std::get_if<std::int64_t>(&rows.value().front().at(property));
        if (status != nullptr && *status >= 0 && *status < static_cast<std::int64_t>(names.size())) {
            return {names.at(static_cast<std::size_t>(*status)), "Win32_DeviceGuard"};
        }
    }
    return {"unknown", rows ? "Win32_DeviceGuard gives no status" : rows.error().message};
}

std::string secure_boot() {
    const auto enabled =
        registry::read_number(L"SYSTEM\\CurrentControlSet\\Control\\SecureBoot\\State", L"UEFISecureBootEnabled");
    if (enabled) {
        return *enabled != 0 ? "on" : "off";
    }
    // The documented way to tell a legacy BIOS: asked for any variable of UEFI it says that there is no such function.
    GetFirmwareEnvironmentVariableW(L"", L"{00000000-0000-0000-0000-000000000000}", nullptr, 0);
    return GetLastError() == ERROR_INVALID_FUNCTION ? "unsupported" : "unknown";
}

// Its own command is the documented way to ask it, and needs no rights. A host without it has no such file.
ArcStatus arc_status() {
    constexpr std::uint32_t limit_ms = 20'000;
    constexpr std::size_t longest_answer = 65'536;
    const std::wstring program = program_files() + L"\\AzureConnectedMachineAgent\\azcmagent.exe";
    if (!file_exists(program)) {
        return {};
    }
    ArcStatus status{true, false, {}};
    std::string answer;
    const auto code = run_program(program, L"show --json", limit_ms, [&](std::string_view piece) {
        answer.append(piece.substr(0, longest_answer - std::min(longest_answer, answer.size())));
    });
    const auto document = code ? parse_json(answer) : Result<Json>(code.error());
    if (!document || !document.value().is_object()) {
        return status;
    }
    const auto text = [&](const char *key) {
        const auto found = document.value().find(key);
        return found != document.value().end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    status.connected = text("status") == "Connected";
    status.version = text("agentVersion");
    return status;
}

std::vector<InstalledUpdate> more_updates() {
    std::vector<InstalledUpdate> updates;
    const auto rows =
        wmi::query(L"root\\cimv2", L"SELECT HotFixID, InstalledOn FROM Win32_QuickFixEngineering", {L"HotFixID", L"InstalledOn"});
    if (!rows) {
        return updates;
    }
    for (const auto &row : rows.value()) {
        const auto *kb = std::get_if<std::string>(&row.at(L"HotFixID"));
        const auto *date = std::get_if<std::string>(&row.at(L"InstalledOn"));
        if (kb != nullptr && kb->starts_with("KB")) {
            updates.push_back({*kb, date != nullptr ? seconds_of_date(*date) : std::nullopt});
        }
    }
    return updates;
}

// From build 26100 on DISM takes a .msu for the running system, finds checkpoint updates beside it, tells progress and returns
// precise errors. Older builds install a .msu only through wusa, which refuses to work in a remote logon; the service, SYSTEM, is
// none.
InstallerCommand installer_command(const std::wstring &package) {
    const auto build_number = registry::read_number(L"SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion", L"CurrentBuild");
    if (build_number.value_or(0) >= first_build_with_dism_for_msu) {
        return {system_folder() + L"\\dism.exe", L"/English /Online /Add-Package \"/PackagePath:" + package + L"\" /NoRestart",
                true};
    }
    return {system_folder() + L"\\wusa.exe", L"\"" + package + L"\" /quiet /norestart", false};
}

Status reboot(std::uint32_t delay_s, const std::wstring &message) {
    if (auto status = enable_shutdown_privilege(); !status) {
        return status;
    }
    std::wstring text = message;
    constexpr DWORD reason = SHTDN_REASON_MAJOR_OPERATINGSYSTEM | SHTDN_REASON_MINOR_SECURITYFIX | SHTDN_REASON_FLAG_PLANNED;
    if (InitiateSystemShutdownExW(nullptr, text.data(), delay_s, TRUE, TRUE, reason) == FALSE &&
        GetLastError() != ERROR_SHUTDOWN_IN_PROGRESS) {
        return last_error(Code::agent_internal, "The reboot cannot be started", {});
    }
    return Unit{};
}

bool stands_for_administrators(PSID /*sid*/) {
    return false;
}

} // namespace hotpatch::platform
