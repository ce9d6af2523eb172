// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// A C++ function that catches by type and cleans up while an exception passes: its unwind data names a handler, and behind it
// lies a table of ranges, actions and types. LIMIT is what differs between the two builds of a test.
#include <stdexcept>
#include <string>
#include <vector>

#ifndef LIMIT
#define LIMIT 100
#endif

namespace {

__attribute__((noinline)) int parse(const char *text) {
    const std::string copy(text);
    if (copy.empty())
        throw std::invalid_argument("empty");
    std::vector<int> digits;
    for (char c : copy) {
        if (c < '0' || c > '9')
            throw std::out_of_range("not a digit");
        digits.push_back(c - '0');
    }
    int value = 0;
    for (int digit : digits)
        value = value * 10 + digit;
    return value;
}

} // namespace

extern "C" __declspec(dllexport) int checked_number(const char *text) {
    try {
        const std::string kept(text);
        const int value = parse(kept.c_str());
        return value > LIMIT ? -1 : value;
    } catch (const std::invalid_argument &) {
        return -2;
    } catch (const std::exception &) {
        return -3;
    }
}
