// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// hold-file PATH RELEASE: keeps PATH open for itself alone until the file RELEASE exists, at most a minute. "PATH.held" says
// when.
#include <string>

#include <windows.h>

int wmain(int count, wchar_t **values) {
    constexpr int attempts = 1200;
    constexpr DWORD pause_ms = 50;
    if (count != 3) {
        return 2;
    }
    const HANDLE file = CreateFileW(values[1], GENERIC_READ | GENERIC_WRITE, 0, nullptr, OPEN_ALWAYS, 0, nullptr);
    if (file == INVALID_HANDLE_VALUE) {
        return 1;
    }
    const std::wstring sign = std::wstring(values[1]) + L".held";
    CloseHandle(CreateFileW(sign.c_str(), GENERIC_WRITE, 0, nullptr, CREATE_ALWAYS, 0, nullptr));
    for (int attempt = 0; attempt < attempts && GetFileAttributesW(values[2]) == INVALID_FILE_ATTRIBUTES; ++attempt) {
        Sleep(pause_ms);
    }
    DeleteFileW(sign.c_str());
    CloseHandle(file);
    return 0;
}
