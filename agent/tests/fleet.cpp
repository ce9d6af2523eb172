// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// fleet PROGRAM ARGUMENTS PORT...: starts PROGRAM once for each port, with "PORT" at the end of its arguments. The
// processes break away from this one's job and live on.
#include <cstdio>
#include <string>

#include <windows.h>

int wmain(int count, wchar_t **values) {
    for (int index = 3; index < count; ++index) {
        std::wstring line = L"\"" + std::wstring(values[1]) + L"\" " + values[2] + L" " + values[index];
        STARTUPINFOW startup{};
        startup.cb = sizeof startup;
        PROCESS_INFORMATION process{};
        if (CreateProcessW(values[1], line.data(), nullptr, nullptr, FALSE, DETACHED_PROCESS | CREATE_BREAKAWAY_FROM_JOB, nullptr,
                           nullptr, &startup, &process) == FALSE) {
            std::fprintf(stderr, "error %lu\n", GetLastError());
            return 1;
        }
        CloseHandle(process.hThread);
        CloseHandle(process.hProcess);
    }
    return 0;
}
