// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "registry.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "handle.hpp"
#include "text.hpp"
#include "win32.hpp"

namespace hotpatch::registry {

namespace {

struct Raw {
    DWORD type = REG_NONE;
    std::vector<std::uint8_t> bytes;
};

unique_key open(const std::wstring &key, REGSAM access) {
    unique_key handle;
    RegOpenKeyExW(HKEY_LOCAL_MACHINE, key.c_str(), 0, access | KEY_WOW64_64KEY, handle.out());
    return handle;
}

std::string place(const std::wstring &key, const std::wstring &name) {
    return "HKLM\\" + to_utf8(key) + (name.empty() ? "" : " " + to_utf8(name));
}

// A value may grow between asking for its size and reading it, hence the loop; five rounds are far more than ever needed.
std::optional<Raw> read_raw(const std::wstring &key, const std::wstring &name) {
    const unique_key handle = open(key, KEY_QUERY_VALUE);
    if (!handle) {
        return std::nullopt;
    }
    Raw raw;
    raw.bytes.resize(256);
    for (int round = 0; round < 5; ++round) {
        auto size = static_cast<DWORD>(raw.bytes.size());
        const LSTATUS status = RegQueryValueExW(handle.get(), name.c_str(), nullptr, &raw.type, raw.bytes.data(), &size);
        if (status != ERROR_SUCCESS && status != ERROR_MORE_DATA) {
            return std::nullopt;
        }
        raw.bytes.resize(size);
        if (status == ERROR_SUCCESS) {
            return raw;
        }
    }
    return std::nullopt;
}

std::wstring as_text(const Raw &raw) {
    std::wstring text(raw.bytes.size() / sizeof(wchar_t), L'\0');
    std::memcpy(text.data(), raw.bytes.data(), text.size() * sizeof(wchar_t));
    return text;
}

} // namespace

std::optional<Data> read(const std::wstring &key, const std::wstring &name) {
    const auto raw = read_raw(key, name);
    if (!raw) {
        return std::nullopt;
    }
    const std::size_t width = raw->type == REG_DWORD ? sizeof(DWORD) : raw->type == REG_QWORD ? sizeof(std::uint64_t) : 0;
    if (width != 0) {
        std::uint64_t number = 0;
        std::memcpy(&number, raw->bytes.data(), std::min(width, raw->bytes.size()));
        return number;
    }
    if (raw->type != REG_SZ && raw->type != REG_EXPAND_SZ) {
        return std::nullopt;
    }
    std::wstring text = as_text(*raw);
    text.resize(std::min(text.size(), text.find(L'\0'))); // the terminator may be missing, doubled or in the middle
    return to_utf8(text);
}

std::optional<std::string> read_text(const std::wstring &key, const std::wstring &name) {
    const auto data = read(key, name);
    const auto *text = data ? std::get_if<std::string>(&*data) : nullptr;
    return text != nullptr ? std::optional(*text) : std::nullopt;
}

std::optional<std::uint64_t> read_number(const std::wstring &key, const std::wstring &name) {
    const auto data = read(key, name);
    if (!data) {
        return std::nullopt;
    }
    if (const auto *number = std::get_if<std::uint64_t>(&*data)) {
        return *number;
    }
    const auto &text = std::get<std::string>(*data);
    const bool digits =
        !text.empty() && text.size() <= 10 && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    return digits ? std::optional<std::uint64_t>(std::stoull(text)) : std::nullopt;
}

std::vector<std::wstring> read_list(const std::wstring &key, const std::wstring &name) {
    std::vector<std::wstring> result;
    const auto raw = read_raw(key, name);
    if (!raw || raw->type != REG_MULTI_SZ) {
        return result;
    }
    std::wstring current;
    for (const wchar_t c : as_text(*raw) + L'\0') {
        if (c != L'\0') {
            current += c;
        } else if (!current.empty()) {
            result.push_back(std::exchange(current, {}));
        }
    }
    return result;
}

bool exists(const std::wstring &key) {
    return static_cast<bool>(open(key, KEY_QUERY_VALUE));
}

std::vector<std::wstring> subkeys(const std::wstring &key) {
    std::vector<std::wstring> result;
    const unique_key handle = open(key, KEY_ENUMERATE_SUB_KEYS);
    if (!handle) {
        return result;
    }
    constexpr DWORD longest_name = 256; // with the terminator
    std::wstring name(longest_name, L'\0');
    for (DWORD index = 0;; ++index) {
        DWORD length = longest_name;
        if (RegEnumKeyExW(handle.get(), index, name.data(), &length, nullptr, nullptr, nullptr, nullptr) != ERROR_SUCCESS) {
            return result;
        }
        result.push_back(name.substr(0, length));
    }
}

std::optional<std::uint64_t> written(const std::wstring &key) {
    const unique_key handle = open(key, KEY_QUERY_VALUE);
    FILETIME time{};
    if (!handle || RegQueryInfoKeyW(handle.get(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                                    nullptr, &time) != ERROR_SUCCESS) {
        return std::nullopt;
    }
    return seconds_of_filetime((static_cast<std::uint64_t>(time.dwHighDateTime) << 32U) | time.dwLowDateTime);
}

Status write(const std::wstring &key, const std::wstring &name, const Data &data) {
    unique_key handle;
    LSTATUS status = RegCreateKeyExW(HKEY_LOCAL_MACHINE, key.c_str(), 0, nullptr, REG_OPTION_NON_VOLATILE,
                                     KEY_SET_VALUE | KEY_WOW64_64KEY, nullptr, handle.out(), nullptr);
    if (status == ERROR_SUCCESS) {
        if (const auto *number = std::get_if<std::uint64_t>(&data)) {
            const auto word = static_cast<DWORD>(*number);
            status = *number > std::numeric_limits<DWORD>::max()
                         ? ERROR_INVALID_DATA
                         : RegSetValueExW(handle.get(), name.c_str(), 0, REG_DWORD, reinterpret_cast<const BYTE *>(&word),
                                          sizeof word);
        } else {
            const std::wstring text = to_wide(std::get<std::string>(data));
            status = RegSetValueExW(handle.get(), name.c_str(), 0, REG_SZ, reinterpret_cast<const BYTE *>(text.c_str()),
                                    static_cast<DWORD>((text.size() + 1) * sizeof(wchar_t)));
        }
    }
    if (status != ERROR_SUCCESS) {
        return windows_error(Code::agent_internal, "A registry value cannot be written", place(key, name),
                             static_cast<std::uint32_t>(status));
    }
    return Unit{};
}

Status remove(const std::wstring &key, const std::wstring &name) {
    unique_key handle;
    LSTATUS status = RegOpenKeyExW(HKEY_LOCAL_MACHINE, key.c_str(), 0, KEY_SET_VALUE | KEY_WOW64_64KEY, handle.out());
    if (status == ERROR_SUCCESS) {
        status = RegDeleteValueW(handle.get(), name.c_str());
    }
    if (status != ERROR_SUCCESS && status != ERROR_FILE_NOT_FOUND) {
        return windows_error(Code::agent_internal, "A registry value cannot be removed", place(key, name),
                             static_cast<std::uint32_t>(status));
    }
    return Unit{};
}

Status remove_key(const std::wstring &key) {
    const LSTATUS status = RegDeleteTreeW(HKEY_LOCAL_MACHINE, key.c_str());
    if (status != ERROR_SUCCESS && status != ERROR_FILE_NOT_FOUND) {
        return windows_error(Code::agent_internal, "A registry key cannot be removed", place(key, {}),
                             static_cast<std::uint32_t>(status));
    }
    return Unit{};
}

} // namespace hotpatch::registry
