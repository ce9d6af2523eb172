// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "cbor.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "text.hpp"

namespace hotpatch::cbor {

namespace {

// The number of argument bytes behind the initial byte, and the smallest argument that needs that many.
struct Width {
    std::size_t bytes = 0;
    std::uint64_t smallest = 0;
};

constexpr std::array<Width, 4> widths{{{1, 24}, {2, 0x100}, {4, 0x1'0000}, {8, 0x1'0000'0000}}};

} // namespace

void Reader::fail(Failure failure) noexcept {
    if (failure_ == Failure::none) {
        failure_ = failure;
    }
    rest_ = {};
}

View Reader::take(std::uint64_t size) {
    if (!ok()) {
        return {};
    }
    if (size > rest_.size()) {
        fail(Failure::truncated);
        return {};
    }
    const View taken = rest_.first(static_cast<std::size_t>(size));
    rest_ = rest_.subspan(taken.size());
    return taken;
}

std::optional<Reader::Head> Reader::head() {
    const View initial = take(1);
    if (!ok()) {
        return std::nullopt;
    }
    const auto major = static_cast<Major>(initial[0] >> 5U);
    const unsigned information = initial[0] & 31U;
    if (information < 24) {
        return Head{major, information};
    }
    if (information >= 24 + widths.size()) { // 28 to 30 are reserved, 31 is an indefinite length
        fail(Failure::malformed);
        return std::nullopt;
    }
    const Width width = widths.at(information - 24);
    std::uint64_t argument = 0;
    for (const std::uint8_t byte : take(width.bytes)) {
        argument = (argument << 8U) | byte;
    }
    if (!ok()) {
        return std::nullopt;
    }
    if (argument < width.smallest) {
        fail(Failure::malformed);
        return std::nullopt;
    }
    return Head{major, argument};
}

std::optional<std::uint64_t> Reader::expect(Major major) {
    const auto found = head();
    if (!found) {
        return std::nullopt;
    }
    if (found->major != major) {
        fail(Failure::malformed);
        return std::nullopt;
    }
    return found->argument;
}

std::uint64_t Reader::unsigned_integer() {
    return expect(Major::unsigned_integer).value_or(0);
}

std::int64_t Reader::integer() {
    const auto found = head();
    if (!found) {
        return 0;
    }
    if (found->argument > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        fail(Failure::malformed);
        return 0;
    }
    const auto value = static_cast<std::int64_t>(found->argument);
    if (found->major == Major::unsigned_integer) {
        return value;
    }
    if (found->major == Major::negative_integer) {
        return -1 - value;
    }
    fail(Failure::malformed);
    return 0;
}

View Reader::string_body(std::uint64_t size, bool is_text) {
    const View body = take(size);
    if (is_text && !is_utf8(body)) {
        fail(Failure::malformed);
        return {};
    }
    return body;
}

View Reader::byte_string() {
    const auto size = expect(Major::byte_string);
    return size ? string_body(*size, false) : View{};
}

std::string_view Reader::text() {
    const auto size = expect(Major::text_string);
    const View body = size ? string_body(*size, true) : View{};
    return {reinterpret_cast<const char *>(body.data()), body.size()};
}

std::size_t Reader::array() {
    const auto count = expect(Major::array);
    if (count && *count > rest_.size()) { // every item has at least one byte
        fail(Failure::truncated);
    }
    return ok() && count ? static_cast<std::size_t>(*count) : 0;
}

std::size_t Reader::map() {
    const auto count = expect(Major::map);
    if (count && *count > rest_.size() / 2) {
        fail(Failure::truncated);
    }
    return ok() && count ? static_cast<std::size_t>(*count) : 0;
}

void Reader::array_of(std::size_t count) {
    if (array() != count) {
        fail(Failure::malformed);
    }
}

void Reader::map_of(std::size_t count) {
    if (map() != count) {
        fail(Failure::malformed);
    }
}

void Reader::tag(std::uint64_t number) {
    const auto found = expect(Major::tag);
    if (found && *found != number) {
        fail(Failure::malformed);
    }
}

void Reader::key(std::string_view name) {
    if (text() != name) {
        fail(Failure::malformed);
    }
}

void Reader::end() {
    if (ok() && !rest_.empty()) {
        fail(Failure::malformed);
    }
}

bool Reader::check_key_order(Levels &levels, std::size_t depth, View item) {
    Level &level = levels.at(depth - 1);
    const View key = item.first(item.size() - rest_.size());
    // The first key's predecessor is empty, and empty bytes come before all others.
    if (!std::lexicographical_compare(level.previous_key.begin(), level.previous_key.end(), key.begin(), key.end())) {
        fail(Failure::malformed);
        return false;
    }
    level.previous_key = key;
    return true;
}

// One item without what an array or map contains; gives how many items that is.
std::optional<Reader::Level> Reader::step(bool is_key) {
    const auto found = head();
    if (!found) {
        return std::nullopt;
    }
    const bool is_text = found->major == Major::text_string;
    const bool is_map = found->major == Major::map;
    if (found->major == Major::tag || found->major == Major::simple || (is_key && !is_text)) {
        fail(Failure::malformed);
    } else if (is_text || found->major == Major::byte_string) {
        string_body(found->argument, is_text);
    } else if ((is_map || found->major == Major::array) && found->argument > rest_.size() / (is_map ? 2 : 1)) {
        fail(Failure::truncated); // every item has at least one byte
    }
    if (!ok()) {
        return std::nullopt;
    }
    const bool is_container = is_map || found->major == Major::array;
    return Level{is_container ? found->argument * (is_map ? 2 : 1) : 0, is_map, {}};
}

View Reader::skip() {
    Levels levels;
    std::size_t depth = 0;
    const View start = rest_;
    do {
        const bool is_key = depth > 0 && levels.at(depth - 1).is_map && levels.at(depth - 1).left % 2 == 0;
        const View item = rest_;
        const auto inside = step(is_key);
        if (!inside || (is_key && !check_key_order(levels, depth, item))) {
            return {};
        }
        if (depth > 0) {
            --levels.at(depth - 1).left;
        }
        if (inside->left > 0 && depth == levels.size()) {
            fail(Failure::malformed);
            return {};
        }
        if (inside->left > 0) {
            levels.at(depth++) = *inside;
        }
        while (depth > 0 && levels.at(depth - 1).left == 0) {
            --depth;
        }
    } while (depth > 0);
    return start.first(start.size() - rest_.size());
}

} // namespace hotpatch::cbor
