// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "host_lock.hpp"

#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

Result<HostLock> HostLock::acquire(const Paths &paths, unsigned wait_ms) {
    constexpr DWORD pause_ms = 25;
    const std::wstring path = paths.lock();
    for (unsigned waited = 0;; waited += pause_ms) {
        unique_handle file(
            CreateFileW(path.c_str(), GENERIC_READ | GENERIC_WRITE, 0, nullptr, OPEN_ALWAYS, FILE_ATTRIBUTE_NORMAL, nullptr));
        if (file) {
            return HostLock(std::move(file));
        }
        const DWORD number = GetLastError();
        if (number != ERROR_SHARING_VIOLATION) {
            return windows_error(code_of_write_error(number), "The host's lock cannot be opened", to_utf8(path), number);
        }
        if (waited >= wait_ms) {
            return Error{Code::agent_busy, {}, {}, 0};
        }
        Sleep(pause_ms);
    }
}

} // namespace hotpatch
