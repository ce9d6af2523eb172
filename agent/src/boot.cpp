// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "boot.hpp"

#include <array>

#include "handle.hpp"
#include "registry.hpp"
#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

constexpr const wchar_t *boot_key = L"SOFTWARE\\hotpatch.windows\\Boot";

Error boot_error(LSTATUS status) {
    return windows_error(Code::agent_internal, "The key that tells boots apart cannot be written", "HKLM\\" + to_utf8(boot_key),
                         static_cast<std::uint32_t>(status));
}

} // namespace

Result<Boot> current_boot() {
    unique_key key;
    DWORD disposition = 0;
    LSTATUS status = RegCreateKeyExW(HKEY_LOCAL_MACHINE, boot_key, 0, nullptr, REG_OPTION_VOLATILE,
                                     KEY_QUERY_VALUE | KEY_SET_VALUE | KEY_WOW64_64KEY, nullptr, key.out(), &disposition);
    if (status == ERROR_ACCESS_DENIED) { // a reader without rights: only look
        status = RegOpenKeyExW(HKEY_LOCAL_MACHINE, boot_key, 0, KEY_QUERY_VALUE | KEY_WOW64_64KEY, key.out());
        disposition = REG_OPENED_EXISTING_KEY;
    }
    if (status != ERROR_SUCCESS) {
        return boot_error(status);
    }
    if (disposition == REG_CREATED_NEW_KEY) {
        const auto id = random_uuid();
        if (!id) {
            return id.error();
        }
        const std::wstring text = to_wide(id.value());
        // Uptime also counts on after a reboot that Wine only imitates, so this is exact on Windows and a lower bound in the lab.
        const std::uint64_t started = now() - GetTickCount64() / 1000;
        RegSetValueExW(key.get(), L"Started", 0, REG_QWORD, reinterpret_cast<const BYTE *>(&started), sizeof started);
        status = RegSetValueExW(key.get(), L"Id", 0, REG_SZ, reinterpret_cast<const BYTE *>(text.c_str()),
                                static_cast<DWORD>((text.size() + 1) * sizeof(wchar_t)));
        if (status != ERROR_SUCCESS) {
            return boot_error(status);
        }
    }
    // Someone else may have created the key a moment ago and not yet written the value.
    constexpr int attempts = 40;
    constexpr DWORD pause_ms = 25;
    for (int attempt = 0; attempt < attempts; ++attempt) {
        if (const auto id = registry::read_text(boot_key, L"Id")) {
            return Boot{*id, registry::read_number(boot_key, L"Started").value_or(0)};
        }
        Sleep(pause_ms);
    }
    return boot_error(ERROR_FILE_NOT_FOUND);
}

} // namespace hotpatch
