// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Errors as values. Every function that can fail returns Result<T>; nothing throws across a file's boundary.
#pragma once

#include <cassert>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>

#include "errors.generated.hpp" // enum class Code, one member for each row of plugins/plugin_utils/_errors.py

namespace hotpatch {

// One error as it goes over the wire: a code of the common table, what happened, where, and small facts.
struct Error {
    Code code{};
    std::string message;     // UTF-8; the table's text when empty
    std::string where;       // UTF-8: path, process or argument
    std::uint32_t win32 = 0; // GetLastError or NTSTATUS, 0 when none; goes into details
};

template <typename T> class [[nodiscard]] Result {
public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}     // NOLINT(google-explicit-constructor)
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {} // NOLINT(google-explicit-constructor)

    [[nodiscard]] bool ok() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return ok(); }
    [[nodiscard]] T &value() & {
        assert(ok());
        return *std::get_if<0>(&state_);
    }
    [[nodiscard]] const T &value() const & {
        assert(ok());
        return *std::get_if<0>(&state_);
    }
    [[nodiscard]] T &&value() && {
        assert(ok());
        return std::move(*std::get_if<0>(&state_));
    }
    [[nodiscard]] Error &error() {
        assert(!ok());
        return *std::get_if<1>(&state_);
    }
    [[nodiscard]] const Error &error() const {
        assert(!ok());
        return *std::get_if<1>(&state_);
    }

private:
    std::variant<T, Error> state_;
};

struct Unit {};
using Status = Result<Unit>;

} // namespace hotpatch
