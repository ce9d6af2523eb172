// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The journal: what the engine was about to do and what it has done, so that the next start can finish or undo it.
//
// An append-only file: a header of 8 bytes ("HPJ1" and four zeros), then records of
//   "HPJR" | u32 length of the body | body | u32 CRC-32C of length and body          (little-endian)
// A body is one whole patch (engine/patch.hpp), so the last record of a transaction says everything about it. Every append is
// flushed to the disk before it returns. A record that a crash tore off at the end is cut away; damage with valid records after
// it is journal_damaged, because then it is not known what is missing.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "engine/patch.hpp"
#include "handle.hpp"
#include "result.hpp"

namespace hotpatch::engine {

class Journal {
public:
    // Opens or creates. agent_busy while another engine has the file open, journal_damaged, agent_internal (the file cannot be
    // used).
    [[nodiscard]] static Result<Journal> open(const std::wstring &path);

    // Appends the patch as it now is, and remembers it. store_disk_full or agent_internal when it is not safely on the disk: then
    // nothing of what it announces may be done.
    [[nodiscard]] Status record(const Patch &patch);

    // The same for what is done already: it is remembered in any case, and when the disk does not take it now, it stands before
    // the next record. Until then the file still says what was about to be done, and the next start finds out from the target's
    // memory.
    [[nodiscard]] Status conclude(const Patch &patch);

    // All patches that are not closed, by transaction.
    [[nodiscard]] const std::map<std::uint64_t, Patch> &open_patches() const { return patches_; }
    [[nodiscard]] std::uint64_t next_transaction() const { return next_; }

    // Writes the open patches to a new file that takes the place of the old one, once the old one has grown far beyond them.
    [[nodiscard]] Status compact();

private:
    Journal(std::wstring path, unique_handle file) : path_(std::move(path)), file_(std::move(file)) {}
    [[nodiscard]] Status replay();
    [[nodiscard]] Status append(const Patch &patch);
    [[nodiscard]] Status append_late();
    void remember(const Patch &patch);

    std::wstring path_;
    unique_handle file_;
    std::map<std::uint64_t, Patch> patches_;
    std::map<std::uint64_t, Patch> late_; // concluded, but not on the disk yet
    std::uint64_t next_ = 1;
    std::uint64_t size_ = 0;
};

// The body of a record, and back; nothing when the bytes are not a whole patch.
[[nodiscard]] Bytes encode(const Patch &patch);
[[nodiscard]] std::optional<Patch> decode(std::span<const std::uint8_t> body);

} // namespace hotpatch::engine
