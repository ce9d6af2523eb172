// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// A reader of CBOR (RFC 8949) that accepts core deterministic encoding (section 4.2.1) and nothing else: shortest integers,
// definite lengths, map keys in the order of their encoded bytes without duplicates, no floats, no simple values, no tags but
// those that are asked for. It copies nothing and allocates nothing: every result is a view of the input.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace hotpatch::cbor {

using View = std::span<const std::uint8_t>;

enum class Failure : std::uint8_t {
    none,
    truncated, // the input ends in the middle of an item
    malformed, // the input is not what was asked for, or not deterministic
};

enum class Major : std::uint8_t { unsigned_integer, negative_integer, byte_string, text_string, array, map, tag, simple };

// Failures stick: after the first one every call gives an empty value, so a sequence of reads is checked once, at its end.
class Reader {
public:
    explicit Reader(View input) noexcept : input_(input), rest_(input) {}

    // The next item must be one of that kind, else the reader fails.
    std::uint64_t unsigned_integer();
    std::int64_t integer();
    View byte_string();
    std::string_view text(); // well-formed UTF-8
    std::size_t array();     // how many items follow; never more than bytes are left
    std::size_t map();       // how many pairs follow; never more than pairs of bytes are left
    void array_of(std::size_t count);
    void map_of(std::size_t count);
    void tag(std::uint64_t number);
    // A text string that is exactly this one: the next key of a map whose keys are known.
    void key(std::string_view name);
    // Nothing may follow.
    void end();
    // Steps over one item of any kind and checks all of its encoding on the way; map keys must be text. At most 16 levels.
    View skip();

    void fail(Failure failure) noexcept;
    [[nodiscard]] Failure failure() const noexcept { return failure_; }
    [[nodiscard]] bool ok() const noexcept { return failure_ == Failure::none; }
    [[nodiscard]] std::size_t offset() const noexcept { return input_.size() - rest_.size(); }

private:
    struct Head {
        Major major{};
        std::uint64_t argument = 0;
    };
    // One open array or map while stepping over an item.
    struct Level {
        std::uint64_t left = 0; // items still to come; of a map, keys and values each count
        bool is_map = false;
        View previous_key;
    };
    using Levels = std::array<Level, 16>;
    std::optional<Head> head();
    std::optional<Level> step(bool is_key);
    bool check_key_order(Levels &levels, std::size_t depth, View item);
    std::optional<std::uint64_t> expect(Major major);
    View take(std::uint64_t size);
    View string_body(std::uint64_t size, bool is_text);

    View input_;
    View rest_;
    Failure failure_ = Failure::none;
};

} // namespace hotpatch::cbor
