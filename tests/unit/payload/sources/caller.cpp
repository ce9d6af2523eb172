// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// A process that has throwing.dll loaded and passes it each line it reads, until its input ends.
#include <windows.h>

#include <cstdio>
#include <cstring>

int main() {
    using Checked = int (*)(const char *);
    const HMODULE module = LoadLibraryA("throwing.dll");
    const FARPROC found = module == nullptr ? nullptr : GetProcAddress(module, "checked_number");
    if (found == nullptr)
        return 1;
    Checked checked = nullptr;
    std::memcpy(&checked, &found, sizeof checked);
    char line[256];
    while (std::fgets(line, sizeof line, stdin) != nullptr) {
        line[std::strcspn(line, "\r\n")] = '\0';
        std::printf("%d\n", checked(line));
        std::fflush(stdout);
    }
    return 0;
}
