// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/faults.hpp"

#ifdef HOTPATCH_FAULTS

#include <atomic>
#include <cstdlib>
#include <cstring>

#include <windows.h>

namespace hotpatch::engine {

namespace {

std::atomic<int> points_met{0};

int wanted_point() noexcept {
    const char *text = std::getenv("HOTPATCH_FAULT_AT");
    return text == nullptr ? 0 : std::atoi(text);
}

} // namespace

void fault_point(const char *name) noexcept {
    static const int wanted = wanted_point();
    if (++points_met == wanted) {
        DWORD done = 0;
        WriteFile(GetStdHandle(STD_ERROR_HANDLE), name, static_cast<DWORD>(std::strlen(name)), &done, nullptr);
        TerminateProcess(GetCurrentProcess(), 99);
    }
}

int fault_points_met() noexcept {
    return points_met;
}

const char *test_setting(const char *name) noexcept {
    return std::getenv(name);
}

} // namespace hotpatch::engine

#endif
