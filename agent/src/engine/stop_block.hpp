// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What the engine, its guard and the next start share about one stop: flat data in a mapped file. Windows keeps a thread
// suspended when the process that suspended it dies, so somebody who survives must know whom to resume and which bytes to put
// back first.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include <windows.h>

#include "engine/patch.hpp"
#include "engine/process.hpp"

namespace hotpatch::engine {

enum class StopPhase : std::uint32_t {
    idle,
    gathering,  // threads are being stopped and looked at; nothing is written yet
    committing, // bytes are being written
    resuming,   // all bytes are new, or all old; threads are being resumed
    aborted,    // the deadline passed while gathering: the guard took over and resumes
    released,   // the guard has resumed what was suspended until then
};

inline constexpr std::size_t most_threads = 8192;
inline constexpr std::size_t most_changes = 4096;

// A thread as it was before the stop, so that whoever ends the stop knows which suspensions are the engine's.
struct StoppedThread {
    std::uint32_t id = 0;
    std::uint32_t suspend_count = 0;
};

// Pages of one protection that a stop writes to.
struct ChangedPages {
    Range range;
    std::uint32_t protection = 0;
};

struct StopBlock {
    std::uint64_t format; // of this structure
    ProcessId target;
    std::atomic<StopPhase> phase;
    std::atomic<std::uint32_t> guard; // the number of the one in charge; one with another number ends
    std::atomic<bool> ready;          // the guard watches
    std::int64_t deadline;            // of gathering, in ticks
    std::uint64_t process;            // a handle of the guard
    bool stops_process;
    bool keep_call_targets;                  // the process has CFG: restoring a protection must not widen its map
    std::atomic<std::uint32_t> thread_count; // entries of `threads` that may have been suspended
    std::uint32_t change_count;
    std::uint32_t page_count;
    std::array<StoppedThread, most_threads> threads;       // with the suspend count before the stop
    std::array<std::atomic<bool>, most_threads> suspended; // which of them the stop has suspended, and nobody resumed yet
    std::atomic<bool> process_suspended;                   // the same of the process as a whole
    std::array<Change, most_changes> changes;
    std::array<ChangedPages, most_changes> pages;
};

// -- what is done to a stopped target, by the engine, by its guard, and by the next start: no allocation, no lock
// -------------------

// The suspend count of a thread now; nothing when it is gone.
[[nodiscard]] bool suspend_count(HANDLE thread, std::uint32_t &count) noexcept;

// Undoes every suspension that the block names and that is still in force: of a thread whose count is above what it was before.
// The newest thread comes first. Who makes a thread may make it suspended and let it go later; were he resumed before that
// thread, his own resumption would be taken for ours, and the thread would stay suspended for ever.
void resume_suspended(HANDLE process, StopBlock &block) noexcept;

// The engine is dead: brings the target back to all old bytes, unless all were new already, and lets it run.
void undo_stop(HANDLE process, StopBlock &block) noexcept;

enum class Side : std::uint8_t { before, after };

// True when every change reads as that side.
[[nodiscard]] bool reads_as(HANDLE process, const StopBlock &block, Side side) noexcept;

// Writes one side of every change. The pages are written as they are where the system allows it (Wine), else they become
// read-write, not executable, for the length of the writes, which is safe because no thread of the target runs, and get their
// protection back.
[[nodiscard]] bool write_side(HANDLE process, const StopBlock &block, Side side) noexcept;

} // namespace hotpatch::engine
