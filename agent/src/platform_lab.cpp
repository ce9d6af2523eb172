// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The host as the test lab makes it: Windows programs on Wine. What Wine cannot answer (is virtualization-based security
// running?) stands below one registry key that the lab writes. This file is in hotpatch-agent-lab.exe only.
#include "platform.hpp"

#include <algorithm>
#include <array>

#include "files.hpp"
#include "handle.hpp"
#include "registry.hpp"
#include "text.hpp"
#include "win32.hpp"

namespace hotpatch::platform {

const std::string_view build = "lab";

namespace {

constexpr const wchar_t *lab_key = L"SOFTWARE\\hotpatch.windows\\Lab";
constexpr const wchar_t *arc_licence =
    L"SOFTWARE\\Microsoft\\Azure Connected Machine Agent\\Windows\\Licenses\\Features\\Hotpatch";
constexpr const wchar_t *lab_folder = L"C:\\lab";
constexpr const wchar_t *reboot_request = L"C:\\lab\\reboot-request";

// A value of the lab's key when it is one of the allowed ones, else "unknown", as on a host that gives no answer.
template <std::size_t N> std::string choice(const wchar_t *name, const std::array<std::string_view, N> &allowed) {
    const std::string value = registry::read_text(lab_key, name).value_or("");
    return std::find(allowed.begin(), allowed.end(), value) != allowed.end() ? value : "unknown";
}

std::wstring system_folder() {
    std::array<wchar_t, MAX_PATH> folder{};
    const UINT length = GetSystemDirectoryW(folder.data(), static_cast<UINT>(folder.size()));
    return {folder.data(), length};
}

} // namespace

VbsStatus vbs_status() {
    static constexpr std::array<std::string_view, 3> allowed{"off", "enabled", "running"};
    return {choice(L"VbsStatus", allowed), "lab"};
}

std::string secure_boot() {
    static constexpr std::array<std::string_view, 3> allowed{"on", "off", "unsupported"};
    return choice(L"SecureBoot", allowed);
}

// The lab writes the licence that Azure's agent would write; where it is, the host counts as connected.
ArcStatus arc_status() {
    const bool licensed = registry::read_number(arc_licence, L"Subscription").value_or(0) == 1;
    return {licensed, licensed, {}};
}

std::vector<InstalledUpdate> more_updates() {
    return {};
}

InstallerCommand installer_command(const std::wstring &package) {
    return {system_folder() + L"\\wusa.exe", L"\"" + package + L"\" /quiet /norestart", false};
}

// The lab's supervisor sees the file, waits the delay it holds, and reboots the host.
Status reboot(std::uint32_t delay_s, const std::wstring & /*message*/) {
    if (CreateDirectoryW(lab_folder, nullptr) == FALSE && GetLastError() != ERROR_ALREADY_EXISTS) {
        return last_error(Code::agent_internal, "The lab's folder cannot be made", to_utf8(lab_folder));
    }
    return write_file(reboot_request, std::to_string(delay_s));
}

// Wine shows every file as owned by the one user that runs it, who is the host's only administrator.
bool stands_for_administrators(PSID sid) {
    unique_handle token;
    if (OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, token.out()) == FALSE) {
        return false;
    }
    alignas(TOKEN_USER) std::array<BYTE, sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE> user{};
    DWORD size = 0;
    return GetTokenInformation(token.get(), TokenUser, user.data(), static_cast<DWORD>(user.size()), &size) != FALSE &&
           EqualSid(reinterpret_cast<const TOKEN_USER *>(user.data())->User.Sid, sid) != FALSE;
}

} // namespace hotpatch::platform
