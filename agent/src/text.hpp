// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Text between Windows (UTF-16) and the wire (UTF-8), and bytes as text.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "payload.hpp"

namespace hotpatch {

// Ill-formed input becomes U+FFFD; neither direction fails.
[[nodiscard]] std::string to_utf8(std::wstring_view text);
[[nodiscard]] std::wstring to_wide(std::string_view text);

// True when the bytes are well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, nothing above U+10FFFF).
[[nodiscard]] bool is_utf8(std::span<const std::uint8_t> bytes);

[[nodiscard]] std::string hex(std::uint64_t value); // lower case, without prefix
[[nodiscard]] std::string to_hex(std::span<const std::uint8_t> bytes);
// 64 lower-case hexadecimal digits, nothing else.
[[nodiscard]] std::optional<Sha256> parse_sha256(std::string_view text);

[[nodiscard]] std::string to_base64(std::span<const std::uint8_t> bytes);
// Canonical base64 (RFC 4648, 4) with padding, nothing else; nothing when the text is anything else.
[[nodiscard]] std::optional<Bytes> parse_base64(std::string_view text);

[[nodiscard]] bool equal_ignoring_case(std::wstring_view left, std::wstring_view right); // as Windows compares file names
[[nodiscard]] std::wstring_view file_name_of(std::wstring_view path);

} // namespace hotpatch
