// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The guard: a second process of the agent's program that lives while operations follow one another. When the engine dies in a
// stop it puts the old bytes back and resumes the target; when looking at the threads takes longer than the deadline (a thread
// that cannot be read because it hangs in a driver) it resumes the target and tells the engine that the attempt is lost.
//
// Why a process: a suspension outlives the suspender on every Windows. NtCreateProcessStateChange, whose freeze ends with its
// handle, would make it superfluous, but exists from Windows Server 2022 on only and is not documented for threads' contexts; a
// debug object would freeze the target too, and make it see a debugger.
#pragma once

#include <memory>
#include <optional>

#include "engine/stop_file.hpp"
#include "handle.hpp"
#include "result.hpp"

namespace hotpatch::engine {

class Guard {
public:
    // Starts the guard of the stops whose block the file holds, and waits until it watches. agent_internal when it cannot be
    // started: then nothing may be stopped.
    [[nodiscard]] static Result<Guard> start(const StopFile &file);

    Guard(Guard &&) noexcept = default;
    Guard &operator=(Guard &&) = delete;
    Guard(const Guard &) = delete;
    Guard &operator=(const Guard &) = delete;
    ~Guard();

    // False when someone ended it.
    [[nodiscard]] bool watches() const noexcept;

    // The process of the stops that follow. The guard gets a handle of its own.
    [[nodiscard]] Status attach(HANDLE process);
    [[nodiscard]] StopBlock &block() noexcept { return *block_; }

private:
    Guard(StopBlock &block, unique_handle process) : block_(&block), process_(std::move(process)) {}

    StopBlock *block_;
    unique_handle process_;
};

// The file of the stop, and the guard, which is started when a stop needs it and left for the next one: starting it takes longer
// than everything else.
class GuardPost {
public:
    // What is left of a stop whose engine and guard both died ends here. As StopFile::open.
    [[nodiscard]] static Result<GuardPost> open(const std::wstring &path);

    [[nodiscard]] Result<Guard *> guard();
    void dismiss() noexcept { guard_.reset(); }

private:
    explicit GuardPost(StopFile file) : file_(std::move(file)) {}

    StopFile file_;
    std::optional<Guard> guard_;
};

} // namespace hotpatch::engine
