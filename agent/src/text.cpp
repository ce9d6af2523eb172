// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "text.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <windows.h>

namespace hotpatch {

namespace {

constexpr std::string_view hex_digits = "0123456789abcdef";
constexpr std::string_view base64_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// The value of one digit of an alphabet, nothing when it is not of it.
std::optional<std::uint8_t> digit_value(std::string_view alphabet, char digit) {
    const auto position = alphabet.find(digit);
    if (position == std::string_view::npos) {
        return std::nullopt;
    }
    return static_cast<std::uint8_t>(position);
}

// How many bytes a UTF-8 sequence has by its first byte, and the range of its second (RFC 3629, section 4); 0 when it cannot
// begin one.
struct Utf8Lead {
    std::size_t length = 0;
    std::uint8_t second_low = 0x80;
    std::uint8_t second_high = 0xBF;
};

Utf8Lead utf8_lead(std::uint8_t byte) {
    if (byte < 0x80) {
        return {1};
    }
    if (byte >= 0xC2 && byte <= 0xDF) {
        return {2};
    }
    if (byte >= 0xE0 && byte <= 0xEF) {
        return {3, static_cast<std::uint8_t>(byte == 0xE0 ? 0xA0 : 0x80), static_cast<std::uint8_t>(byte == 0xED ? 0x9F : 0xBF)};
    }
    if (byte >= 0xF0 && byte <= 0xF4) {
        return {4, static_cast<std::uint8_t>(byte == 0xF0 ? 0x90 : 0x80), static_cast<std::uint8_t>(byte == 0xF4 ? 0x8F : 0xBF)};
    }
    return {};
}

} // namespace

std::string to_utf8(std::wstring_view text) {
    if (text.empty()) {
        return {};
    }
    const int length = static_cast<int>(text.size());
    const int needed = WideCharToMultiByte(CP_UTF8, 0, text.data(), length, nullptr, 0, nullptr, nullptr);
    std::string result(static_cast<std::size_t>(needed), '\0');
    WideCharToMultiByte(CP_UTF8, 0, text.data(), length, result.data(), needed, nullptr, nullptr);
    return result;
}

std::wstring to_wide(std::string_view text) {
    if (text.empty()) {
        return {};
    }
    const int length = static_cast<int>(text.size());
    const int needed = MultiByteToWideChar(CP_UTF8, 0, text.data(), length, nullptr, 0);
    std::wstring result(static_cast<std::size_t>(needed), L'\0');
    MultiByteToWideChar(CP_UTF8, 0, text.data(), length, result.data(), needed);
    return result;
}

bool is_utf8(std::span<const std::uint8_t> bytes) {
    while (!bytes.empty()) {
        const Utf8Lead lead = utf8_lead(bytes[0]);
        if (lead.length == 0 || lead.length > bytes.size()) {
            return false;
        }
        if (lead.length > 1 && (bytes[1] < lead.second_low || bytes[1] > lead.second_high)) {
            return false;
        }
        for (std::size_t index = 2; index < lead.length; ++index) {
            if ((bytes[index] & 0xC0U) != 0x80U) {
                return false;
            }
        }
        bytes = bytes.subspan(lead.length);
    }
    return true;
}

std::string hex(std::uint64_t value) {
    std::array<char, 16> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16).ptr;
    return {digits.data(), end};
}

std::string to_hex(std::span<const std::uint8_t> bytes) {
    std::string result;
    result.reserve(bytes.size() * 2);
    for (const std::uint8_t byte : bytes) {
        result += hex_digits[byte >> 4U];
        result += hex_digits[byte & 15U];
    }
    return result;
}

std::optional<Sha256> parse_sha256(std::string_view text) {
    Sha256 result{};
    if (text.size() != result.size() * 2) {
        return std::nullopt;
    }
    for (std::size_t index = 0; index < result.size(); ++index) {
        const auto high = digit_value(hex_digits, text[2 * index]);
        const auto low = digit_value(hex_digits, text[2 * index + 1]);
        if (!high || !low) {
            return std::nullopt;
        }
        result[index] = static_cast<std::uint8_t>((*high << 4U) | *low);
    }
    return result;
}

std::string to_base64(std::span<const std::uint8_t> bytes) {
    std::string result;
    result.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t index = 0; index < bytes.size(); index += 3) {
        const std::size_t have = std::min<std::size_t>(3, bytes.size() - index);
        std::uint32_t group = 0;
        for (std::size_t byte = 0; byte < 3; ++byte) {
            group = (group << 8U) | (byte < have ? bytes[index + byte] : 0U);
        }
        for (std::size_t digit = 0; digit < 4; ++digit) {
            result += digit <= have ? base64_digits[(group >> (18U - 6U * digit)) & 63U] : '=';
        }
    }
    return result;
}

std::optional<Bytes> parse_base64(std::string_view text) {
    Bytes result;
    if (text.size() % 4 != 0) {
        return std::nullopt;
    }
    for (std::size_t index = 0; index < text.size(); index += 4) {
        const bool last = index + 4 == text.size();
        const std::size_t padding = !last || text[index + 3] != '=' ? 0 : text[index + 2] != '=' ? 1 : 2;
        std::uint32_t group = 0;
        for (std::size_t digit = 0; digit < 4 - padding; ++digit) {
            const auto value = digit_value(base64_digits, text[index + digit]);
            if (!value) {
                return std::nullopt;
            }
            group |= static_cast<std::uint32_t>(*value) << (18U - 6U * digit);
        }
        for (std::size_t byte = 0; byte < 3 - padding; ++byte) {
            result.push_back(static_cast<std::uint8_t>(group >> (16U - 8U * byte)));
        }
    }
    // A second spelling of the same bytes (bits left over in the last digit) is not canonical.
    return to_base64(result) == text ? std::optional(std::move(result)) : std::nullopt;
}

bool equal_ignoring_case(std::wstring_view left, std::wstring_view right) {
    return CompareStringOrdinal(left.data(), static_cast<int>(left.size()), right.data(), static_cast<int>(right.size()), TRUE) ==
           CSTR_EQUAL;
}

std::wstring_view file_name_of(std::wstring_view path) {
    const auto separator = path.find_last_of(L"\\/");
    return separator == std::wstring_view::npos ? path : path.substr(separator + 1);
}

} // namespace hotpatch
