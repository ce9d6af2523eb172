// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "json.hpp"

#include <algorithm>
#include <limits>

#include "text.hpp"

namespace hotpatch {

namespace {

constexpr int deepest_level = 32;

const Json &empty_array() {
    static const Json empty = Json::array();
    return empty;
}

const Json &empty_object() {
    static const Json empty = Json::object();
    return empty;
}

} // namespace

Result<Json> parse_json(std::string_view text) {
    std::vector<std::set<std::string>> keys;
    std::string problem;
    const auto observe = [&](int depth, Json::parse_event_t event, Json &parsed) {
        if (depth > deepest_level) {
            problem = "it is nested too deeply";
            return false;
        }
        if (event == Json::parse_event_t::object_start) {
            keys.emplace_back();
        } else if (event == Json::parse_event_t::object_end) {
            keys.pop_back();
        } else if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
            problem = "the key '" + parsed.get<std::string>() + "' stands twice in one object";
        }
        return true;
    };
    Json document = Json::parse(text.begin(), text.end(), observe, false);
    if (document.is_discarded() && problem.empty()) {
        problem = "it is not well-formed";
    }
    if (!problem.empty()) {
        return Error{Code::protocol_malformed, "The document is not valid JSON of the protocol: " + problem, {}, 0};
    }
    return document;
}

std::string dump_json(const Json &document) {
    return document.dump(-1, ' ', true, Json::error_handler_t::replace);
}

Fields::Fields(const Json &object, std::string where, Code code) : object_(object), where_(std::move(where)), code_(code) {
    if (!object_.is_object()) {
        problem_ = Error{code_, "'" + where_ + "' is not an object", where_, 0};
    }
}

std::string Fields::path_of(std::string_view key) const {
    return where_.empty() ? std::string(key) : where_ + "." + std::string(key);
}

void Fields::refuse(std::string_view key, std::string message) {
    if (!problem_) {
        problem_ = Error{code_, "'" + path_of(key) + "' " + std::move(message), path_of(key), 0};
    }
}

const Json *Fields::find(std::string_view key, bool required) {
    asked_.emplace(key);
    if (problem_) {
        return nullptr;
    }
    const auto found = object_.find(key);
    if (found != object_.end() && !(found->is_null() && !required)) {
        return &*found;
    }
    if (required) {
        refuse(key, "is missing");
    }
    return nullptr;
}

bool Fields::has(std::string_view key) {
    return find(key, false) != nullptr;
}

const Json *Fields::raw(std::string_view key) {
    asked_.emplace(key);
    const auto found = problem_ ? object_.end() : object_.find(key);
    return problem_ || found == object_.end() ? nullptr : &*found;
}

std::optional<std::string> Fields::optional_text(std::string_view key, std::size_t longest) {
    return has(key) ? std::optional(text(key, longest)) : std::nullopt;
}

std::string Fields::text(std::string_view key, std::size_t longest) {
    const Json *value = find(key, true);
    if (value == nullptr) {
        return {};
    }
    if (!value->is_string()) {
        refuse(key, "is not a string");
        return {};
    }
    auto result = value->get<std::string>();
    if (result.size() > longest || result.find('\0') != std::string::npos) {
        refuse(key, "is too long or holds a null character");
        return {};
    }
    return result;
}

std::optional<std::uint64_t> Fields::optional_number(std::string_view key, std::uint64_t smallest, std::uint64_t largest) {
    return has(key) ? std::optional(number(key, smallest, largest)) : std::nullopt;
}

std::uint64_t Fields::number(std::string_view key, std::uint64_t smallest, std::uint64_t largest) {
    const Json *value = find(key, true);
    if (value == nullptr) {
        return 0;
    }
    if (!value->is_number_unsigned()) {
        refuse(key, "is not a non-negative integer");
        return 0;
    }
    const auto result = value->get<std::uint64_t>();
    if (result < smallest || result > largest) {
        refuse(key, "is not between " + std::to_string(smallest) + " and " + std::to_string(largest));
        return 0;
    }
    return result;
}

bool Fields::flag(std::string_view key, bool otherwise) {
    const Json *value = find(key, false);
    if (value == nullptr) {
        return otherwise;
    }
    if (!value->is_boolean()) {
        refuse(key, "is not true or false");
        return otherwise;
    }
    return value->get<bool>();
}

Sha256 Fields::sha256(std::string_view key) {
    const auto parsed = parse_sha256(text(key));
    if (!parsed) {
        refuse(key, "is not a SHA-256 of 64 lower-case hexadecimal digits");
    }
    return parsed.value_or(Sha256{});
}

const Json &Fields::list(std::string_view key, std::size_t longest) {
    const Json *value = find(key, true);
    if (value == nullptr) {
        return empty_array();
    }
    if (!value->is_array() || value->size() > longest) {
        refuse(key, "is not a list of at most " + std::to_string(longest) + " elements");
        return empty_array();
    }
    return *value;
}

const Json &Fields::object(std::string_view key) {
    const Json *value = find(key, true);
    if (value == nullptr) {
        return empty_object();
    }
    if (!value->is_object()) {
        refuse(key, "is not an object");
        return empty_object();
    }
    return *value;
}

std::vector<Sha256> Fields::sha256_list(std::string_view key, std::size_t longest) {
    std::vector<Sha256> result;
    for (const Json &element : list(key, longest)) {
        const auto parsed = element.is_string() ? parse_sha256(element.get<std::string>()) : std::nullopt;
        if (!parsed) {
            refuse(key, "holds what is not a SHA-256 of 64 lower-case hexadecimal digits");
            return {};
        }
        result.push_back(*parsed);
    }
    return result;
}

std::vector<std::string> Fields::text_list(std::string_view key, std::size_t longest) {
    std::vector<std::string> result;
    if (!has(key)) {
        return result;
    }
    for (const Json &element : list(key, longest)) {
        if (!element.is_string()) {
            refuse(key, "holds what is not a string");
            return {};
        }
        result.push_back(element.get<std::string>());
    }
    return result;
}

std::vector<std::uint32_t> Fields::number_list(std::string_view key, std::size_t longest) {
    std::vector<std::uint32_t> result;
    if (!has(key)) {
        return result;
    }
    for (const Json &element : list(key, longest)) {
        if (!element.is_number_unsigned() || element.get<std::uint64_t>() > std::numeric_limits<std::uint32_t>::max()) {
            refuse(key, "holds what is not a number of 32 bits");
            return {};
        }
        result.push_back(element.get<std::uint32_t>());
    }
    return result;
}

Status Fields::done() {
    if (problem_) {
        return *problem_;
    }
    for (const auto &[key, value] : object_.items()) {
        if (asked_.find(key) == asked_.end()) {
            refuse(key, "is not known");
            return *problem_;
        }
    }
    return Unit{};
}

} // namespace hotpatch
