// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Reading and writing HKEY_LOCAL_MACHINE, always in its 64-bit view.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "result.hpp"

namespace hotpatch::registry {

using Data = std::variant<std::uint64_t, std::string>; // REG_DWORD and REG_QWORD; REG_SZ, REG_EXPAND_SZ as UTF-8

// Nothing when key or value are absent or of a kind that is neither number nor string.
[[nodiscard]] std::optional<Data> read(const std::wstring &key, const std::wstring &name);
[[nodiscard]] std::optional<std::string> read_text(const std::wstring &key, const std::wstring &name);
// A number; text of decimal digits counts as one (some values of Windows are written either way).
[[nodiscard]] std::optional<std::uint64_t> read_number(const std::wstring &key, const std::wstring &name);
// The strings of a REG_MULTI_SZ, empty ones left out.
[[nodiscard]] std::vector<std::wstring> read_list(const std::wstring &key, const std::wstring &name);
[[nodiscard]] bool exists(const std::wstring &key);
[[nodiscard]] std::vector<std::wstring> subkeys(const std::wstring &key);
// When a key was last written, seconds since 1970 UTC.
[[nodiscard]] std::optional<std::uint64_t> written(const std::wstring &key);

// Numbers are written as REG_DWORD (they must fit), text as REG_SZ.
[[nodiscard]] Status write(const std::wstring &key, const std::wstring &name, const Data &data);
// An absent value is no error.
[[nodiscard]] Status remove(const std::wstring &key, const std::wstring &name);
[[nodiscard]] Status remove_key(const std::wstring &key);

} // namespace hotpatch::registry
