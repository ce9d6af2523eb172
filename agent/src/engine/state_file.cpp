// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/state_file.hpp"

#include "text.hpp"

namespace hotpatch::engine {

namespace {

constexpr DWORD pause_ms = 20;

} // namespace

Result<unique_handle> open_state_file(const std::wstring &path, DWORD disposition, DWORD wait_ms) {
    for (DWORD waited = 0;; waited += pause_ms) {
        unique_handle file(CreateFileW(path.c_str(), GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ, nullptr, disposition,
                                       FILE_ATTRIBUTE_NORMAL | FILE_FLAG_WRITE_THROUGH, nullptr));
        if (file) {
            return file;
        }
        if (GetLastError() != ERROR_SHARING_VIOLATION) {
            return unusable(path, "the file cannot be opened");
        }
        if (waited >= wait_ms) {
            return Error{Code::agent_busy, "another engine works with the file", to_utf8(path), ERROR_SHARING_VIOLATION};
        }
        Sleep(pause_ms);
    }
}

bool write_through(HANDLE file, std::span<const std::uint8_t> bytes) {
    DWORD done = 0;
    return WriteFile(file, bytes.data(), static_cast<DWORD>(bytes.size()), &done, nullptr) && done == bytes.size() &&
           FlushFileBuffers(file);
}

bool cut(HANDLE file, std::uint64_t size) {
    LARGE_INTEGER end{};
    end.QuadPart = static_cast<LONGLONG>(size);
    return SetFilePointerEx(file, end, nullptr, FILE_BEGIN) && SetEndOfFile(file) && FlushFileBuffers(file);
}

Error unusable(const std::wstring &path, const char *what) {
    const DWORD error = GetLastError();
    const bool full = error == ERROR_DISK_FULL || error == ERROR_HANDLE_DISK_FULL;
    return {full ? Code::store_disk_full : Code::agent_internal, what, to_utf8(path), error};
}

} // namespace hotpatch::engine
