// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "win32.hpp"

#include <array>

#include <windows.h>

#include <bcrypt.h>

#include "handle.hpp"
#include "text.hpp"

namespace hotpatch {

namespace {

// Between 1601 (FILETIME) and 1970, in seconds.
constexpr std::uint64_t epoch_difference = 11'644'473'600;

bool is_member_of(WELL_KNOWN_SID_TYPE group) {
    std::array<BYTE, SECURITY_MAX_SID_SIZE> sid{};
    DWORD size = static_cast<DWORD>(sid.size());
    BOOL member = FALSE;
    return CreateWellKnownSid(group, nullptr, sid.data(), &size) != FALSE &&
           CheckTokenMembership(nullptr, sid.data(), &member) != FALSE && member != FALSE;
}

} // namespace

std::string windows_message(std::uint32_t number) {
    unique_local owner;
    const DWORD length = FormatMessageW(FORMAT_MESSAGE_ALLOCATE_BUFFER | FORMAT_MESSAGE_FROM_SYSTEM |
                                            FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK,
                                        nullptr, number, 0, reinterpret_cast<wchar_t *>(owner.out()), 0, nullptr);
    std::string text = length == 0 ? std::string() : to_utf8({static_cast<const wchar_t *>(owner.get()), length});
    while (!text.empty() && (text.back() == ' ' || text.back() == '.')) {
        text.pop_back();
    }
    return text.empty() ? "error " + std::to_string(number) : text + " (" + std::to_string(number) + ")";
}

Error windows_error(Code code, std::string what, std::string where, std::uint32_t number) {
    if (code == Code::agent_internal && number == ERROR_ACCESS_DENIED) {
        code = Code::access_denied;
    }
    return Error{code, std::move(what) + ": " + windows_message(number), std::move(where), number};
}

Error last_error(Code code, std::string what, std::string where) {
    const DWORD number = GetLastError();
    return windows_error(code, std::move(what), std::move(where), number);
}

std::uint64_t seconds_of_filetime(std::uint64_t filetime) {
    const std::uint64_t seconds = filetime / 10'000'000;
    return seconds < epoch_difference ? 0 : seconds - epoch_difference;
}

std::uint64_t now() {
    FILETIME time{};
    GetSystemTimeAsFileTime(&time);
    return seconds_of_filetime((static_cast<std::uint64_t>(time.dwHighDateTime) << 32U) | time.dwLowDateTime);
}

std::wstring own_path() {
    std::wstring path(MAX_PATH, L'\0');
    for (;;) {
        const DWORD length = GetModuleFileNameW(nullptr, path.data(), static_cast<DWORD>(path.size()));
        if (length < path.size()) {
            path.resize(length);
            return path;
        }
        path.resize(path.size() * 2); // Windows' limit is 32,767 characters, so this ends
    }
}

Result<std::string> random_uuid() {
    std::array<std::uint8_t, 16> bytes{};
    if (!BCRYPT_SUCCESS(
            BCryptGenRandom(nullptr, bytes.data(), static_cast<ULONG>(bytes.size()), BCRYPT_USE_SYSTEM_PREFERRED_RNG))) {
        return Error{Code::agent_internal, "Windows gives no random numbers", {}, 0};
    }
    bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0FU) | 0x40U); // RFC 9562: version 4, variant 10
    bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3FU) | 0x80U);
    std::string text = to_hex(bytes);
    for (const std::size_t position : {8U, 13U, 18U, 23U}) {
        text.insert(position, "-");
    }
    return text;
}

bool is_administrator() {
    return is_member_of(WinBuiltinAdministratorsSid) || is_member_of(WinLocalSystemSid);
}

} // namespace hotpatch
