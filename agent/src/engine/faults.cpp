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

// By its number or by its name.
bool is_wanted(const char *name, int number) noexcept {
    static const char *const wanted = std::getenv("HOTPATCH_FAULT_AT");
    return wanted != nullptr && (std::strcmp(wanted, name) == 0 || std::atoi(wanted) == number);
}

} // namespace

// Waits, for at most half a minute, until the test has done to the target what it wants to have done at this place.
void hold_point(const char *name) noexcept {
    static const char *const place = std::getenv("HOTPATCH_HOLD_AT");
    static bool held = false;
    const char *const file = std::getenv("HOTPATCH_HOLD_FILE");
    if (place == nullptr || file == nullptr || held || std::strcmp(place, name) != 0) {
        return;
    }
    held = true;
    CloseHandle(CreateFileA(file, GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr, CREATE_ALWAYS, 0, nullptr));
    for (int waited = 0; waited < 3000 && GetFileAttributesA(file) != INVALID_FILE_ATTRIBUTES; ++waited) {
        Sleep(10);
    }
}

void fault_point(const char *name) noexcept {
    hold_point(name);
    if (is_wanted(name, ++points_met)) {
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
