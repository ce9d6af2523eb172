// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The block of the current stop, in a file that lies beside the journal and is mapped by engine and guard. So it outlives both,
// and the next start knows exactly which threads a stop that nobody ended has suspended and what it was writing. It is never
// flushed: when the host goes down, the targets go with it.
#pragma once

#include <memory>
#include <string>

#include "engine/stop_block.hpp"
#include "handle.hpp"
#include "result.hpp"

namespace hotpatch::engine {

struct UnmapBlock {
    void operator()(StopBlock *block) const noexcept { UnmapViewOfFile(block); }
};
using MappedBlock = std::unique_ptr<StopBlock, UnmapBlock>;

// The block that a file holds; null when it cannot be mapped.
[[nodiscard]] MappedBlock map_block(HANDLE file) noexcept;

class StopFile {
public:
    // Opens or creates the file, and ends the stop that is left in it. A guard whose engine died has the file open until it has
    // ended the stop itself, and is waited for. agent_busy, store_disk_full, agent_internal.
    [[nodiscard]] static Result<StopFile> open(const std::wstring &path);

    [[nodiscard]] StopBlock &block() const noexcept { return *block_; }
    [[nodiscard]] HANDLE handle() const noexcept { return file_.get(); }

private:
    StopFile(unique_handle file, MappedBlock block) : file_(std::move(file)), block_(std::move(block)) {}

    unique_handle file_;
    MappedBlock block_;
};

} // namespace hotpatch::engine
