// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// JSON as the wire has it: parsed strictly, read field by field with nothing left over, written as ASCII.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "payload.hpp"
#include "result.hpp"

namespace hotpatch {

using Json = nlohmann::ordered_json;

// One document and nothing else: doubled keys, more than 32 levels and ill-formed UTF-8 are refused too (protocol_malformed).
[[nodiscard]] Result<Json> parse_json(std::string_view text);

// ASCII only, no line breaks.
[[nodiscard]] std::string dump_json(const Json &document);

// Reads one object. The first disagreement is kept and given by done(), with the path of the field as `where`; until then every
// read gives an empty value. Fields that were never asked for are refused by done().
class Fields {
public:
    Fields(const Json &object, std::string where, Code code = Code::argument_invalid);

    [[nodiscard]] bool has(std::string_view key); // present and not null; the key counts as asked for
    std::string text(std::string_view key, std::size_t longest = 4096);
    std::optional<std::string> optional_text(std::string_view key, std::size_t longest = 4096);
    std::uint64_t number(std::string_view key, std::uint64_t smallest, std::uint64_t largest);
    std::optional<std::uint64_t> optional_number(std::string_view key, std::uint64_t smallest, std::uint64_t largest);
    bool flag(std::string_view key, bool otherwise);
    Sha256 sha256(std::string_view key);
    std::vector<Sha256> sha256_list(std::string_view key, std::size_t longest);
    std::vector<std::string> text_list(std::string_view key, std::size_t longest); // empty when absent
    std::vector<std::uint32_t> number_list(std::string_view key, std::size_t longest);
    // The elements of a required list, for callers that read each with its own Fields; element_path names one.
    const Json &list(std::string_view key, std::size_t longest);
    const Json &object(std::string_view key);
    const Json *raw(std::string_view key); // null pointer when absent
    [[nodiscard]] std::string path_of(std::string_view key) const;

    void refuse(std::string_view key, std::string message);
    [[nodiscard]] Status done();

private:
    const Json *find(std::string_view key, bool required);

    const Json &object_;
    std::string where_;
    Code code_;
    std::set<std::string, std::less<>> asked_;
    std::optional<Error> problem_;
};

} // namespace hotpatch
