// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The files that hold the engine's state, each in the hands of one engine at a time.
#pragma once

#include <span>
#include <string>

#include <windows.h>

#include "handle.hpp"
#include "result.hpp"

namespace hotpatch::engine {

// Opens a file that nobody else may write to meanwhile; `disposition` is CreateFile's. A file that is in use is waited for.
// agent_busy when it stays in use, store_disk_full, agent_internal.
[[nodiscard]] Result<unique_handle> open_state_file(const std::wstring &path, DWORD disposition, DWORD wait_ms);

// Writes all of it where the file stands, and returns when it is on the disk.
[[nodiscard]] bool write_through(HANDLE file, std::span<const std::uint8_t> bytes);

// Everything from there on is cut away.
[[nodiscard]] bool cut(HANDLE file, std::uint64_t size);

// What the last call of Windows said of the file: store_disk_full or agent_internal.
[[nodiscard]] Error unusable(const std::wstring &path, const char *what);

} // namespace hotpatch::engine
