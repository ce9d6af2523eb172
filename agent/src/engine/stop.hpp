// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// One stop of one process: stop every thread, prove that none is where it must not be, change the bytes, verify, resume.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "engine/guard.hpp"
#include "engine/patch.hpp"

namespace hotpatch::engine {

// How a process is stopped.
enum class StopMethod : std::uint8_t {
    // SuspendThread for every thread: exactly what was suspended is resumed. The only exact way on Windows, where
    // NtSuspendProcess
    // counts on the threads and NtResumeProcess would also start a thread that its creator made suspended in between.
    threads,
    // NtSuspendProcess: on Wine the process has a count of its own, so it is exact there, takes new threads with it, and is half
    // as
    // long (64 threads: 3.1 ms with contexts against 6.2 ms; resuming threads singly lets each run before the next is resumed).
    process,
};
[[nodiscard]] StopMethod usual_stop_method();

struct StopRules {
    std::vector<Range> code;    // no instruction pointer may lie in them
    std::vector<Range> returns; // no aligned word of a used stack may; empty: stacks are not read for it
    std::vector<Range> unused;  // reported, not demanded: nothing on a stack or in a register points into them
    std::uint32_t budget_us = 0;
    bool keep_call_targets = false;
    StopMethod method = usual_stop_method();
};

enum class StopResult : std::uint8_t {
    changed,      // every change is made and verified
    busy,         // `obstacle` says who
    over_budget,  // nothing was changed
    mismatch,     // the bytes before are not what they must be: nothing was changed
    write_failed, // nothing was changed in the end
    exited,
    inconsistent, // neither side could be written
};

// Who was in the way, as raw words: they are given names after the target runs again.
struct Obstacle {
    std::uint32_t thread = 0;      // 0: a parked fiber
    std::uint64_t instruction = 0; // where the thread is
    bool found = false;
    std::uint64_t address = 0; // the address that is in the way: `instruction` or a word of the stack
    std::size_t depth = 0;     // words in `stack`
    std::array<std::uint64_t, 1024> stack{};
};

struct StopReport {
    StopResult result{};
    double stop_us = 0;
    std::uint32_t threads = 0;
    bool unused = false; // see StopRules
    Obstacle obstacle;
};

// Everything that can be had before the stop, had before the stop.
class Stop {
public:
    // Fills the guard's block with the changes, the pages and the threads. target_exited, target_stop_budget (too many threads or
    // changes).
    [[nodiscard]] static Result<Stop> prepare(const Process &process, Guard &guard, const std::vector<Change> &changes,
                                              StopRules rules);

    // The stop itself. Between its first and last suspension there is no allocation, no file access and no log; the target's
    // locks are never taken. May be called once.
    [[nodiscard]] StopReport run() noexcept;

private:
    struct Thread {
        unique_handle handle;
        Range stack;          // from the deepest address it may reach to its base
        bool stopped = false; // its context was read, so it does not run
    };

    Stop(const Process &process, Guard &guard, StopRules rules);

    Status list_threads();
    Status describe_pages(const std::vector<Change> &changes);
    Thread describe(unique_handle handle) const noexcept;

    bool suspend_all() noexcept;
    bool suspend_thread(std::size_t index) noexcept;
    bool read_contexts(std::size_t first) noexcept;
    HANDLE last_listed() const noexcept;
    bool add_newcomers() noexcept;
    bool is_known(std::uint32_t id) const noexcept;
    StopResult gather(StopReport &report) noexcept;
    StopResult inspect(StopReport &report) noexcept;
    bool inspect_stack(std::size_t index, const Range &used, StopReport &report) noexcept;
    void inspect_registers(const CONTEXT &context, StopReport &report) const noexcept;
    Range used_stack(std::size_t index) const noexcept;
    void record(Obstacle &obstacle, std::size_t index, std::uint64_t address, const Range &used) const noexcept;
    StopResult commit() noexcept;
    void resume_all() noexcept;
    void await_release() const noexcept;
    bool in_time() const noexcept;
    bool reads_stacks() const noexcept;

    HANDLE process_;
    const Guard *guard_;
    StopBlock *block_;
    StopRules rules_;
    std::vector<Thread> threads_;
    std::vector<CONTEXT> contexts_;
    std::vector<Range> parked_; // stacks of parked fibers
    std::vector<std::uint64_t> scratch_;
    std::int64_t begin_ = 0;
};

} // namespace hotpatch::engine
