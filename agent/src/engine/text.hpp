// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// UTF-8 for reports, UTF-16 for Windows, and the comparison of file names.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hotpatch::engine {

[[nodiscard]] std::string to_utf8(std::wstring_view text);
[[nodiscard]] std::wstring to_wide(std::string_view text);
[[nodiscard]] std::string hex(std::uint64_t value); // lower case, without prefix
[[nodiscard]] std::wstring_view file_name_of(std::wstring_view path);
[[nodiscard]] bool same_name(std::wstring_view left, std::wstring_view right); // as Windows compares file names

} // namespace hotpatch::engine
