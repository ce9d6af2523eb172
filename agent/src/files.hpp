// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The agent's folder and the files in it: who may write there, and writing so that a file is either old or new, never half.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "handle.hpp"
#include "payload.hpp"
#include "result.hpp"

namespace hotpatch {

// Where everything of the agent lies (docs/protocol.md, "Paths on the host").
struct Paths {
    std::wstring root; // %ProgramData%\hotpatch.windows

    [[nodiscard]] std::wstring agents() const { return root + L"\\agent"; }
    [[nodiscard]] std::wstring agent(const Sha256 &hash) const;
    [[nodiscard]] std::wstring store() const { return root + L"\\store"; }
    [[nodiscard]] std::wstring object(const Sha256 &hash) const;
    [[nodiscard]] std::wstring jobs() const { return root + L"\\jobs"; }
    [[nodiscard]] std::wstring journal() const { return root + L"\\journal.log"; }
    [[nodiscard]] std::wstring trust() const { return root + L"\\trust.json"; }
    [[nodiscard]] std::wstring desired() const { return root + L"\\desired.json"; }
    [[nodiscard]] std::wstring lock() const { return root + L"\\lock"; }
    [[nodiscard]] std::wstring metrics() const { return root + L"\\metrics"; }

    // From the known folder ProgramData, not from the environment, which a caller could set.
    [[nodiscard]] static Result<Paths> of_host();
};

// Creates the folder (and its subfolders) so that only SYSTEM and Administrators can use it. An existing one is taken only when
// its owner and its access list let nobody else write (agent_unsafe_path): any user can create folders in ProgramData beforehand.
[[nodiscard]] Status secure_folder(const Paths &paths);
// The same judgement without changing or creating anything; an absent folder is fine.
[[nodiscard]] Status check_folder(const Paths &paths);

// The code for a failed write: store_disk_full when the disk or the quota is, else agent_internal.
[[nodiscard]] Code code_of_write_error(std::uint32_t number);

[[nodiscard]] bool file_exists(const std::wstring &path);
// Nothing when there is no such file; an error when it cannot be read or is larger than the limit.
[[nodiscard]] Result<std::optional<Bytes>> read_file(const std::wstring &path, std::uint64_t limit);
// Into a temporary file beside it, flushed, then renamed over it.
[[nodiscard]] Status write_file(const std::wstring &path, std::span<const std::uint8_t> content);
[[nodiscard]] Status write_file(const std::wstring &path, std::string_view content);
// Renames, replacing; tries for up to a second when something (a virus scanner) holds the target open.
[[nodiscard]] Status move_file(const std::wstring &from, const std::wstring &to);
// True when a file was there.
[[nodiscard]] Result<bool> remove_file(const std::wstring &path);
// Everything below and the folder itself, best effort; gives what could not be removed. Links are removed, never followed.
[[nodiscard]] std::vector<std::wstring> remove_tree(const std::wstring &path);

struct Entry {
    std::wstring name;
    std::uint64_t size = 0;
    std::uint64_t written = 0; // seconds since 1970 UTC
    bool folder = false;
    bool link = false;
};
[[nodiscard]] std::vector<Entry> list_folder(const std::wstring &path);

[[nodiscard]] std::uint64_t free_bytes(const Paths &paths);

// Writes all of it; the error has code_of_write_error.
[[nodiscard]] Status write_all(HANDLE file, std::span<const std::uint8_t> content, const std::wstring &path);

} // namespace hotpatch
