// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/stop.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string_view>

#include "engine/faults.hpp"
#include "engine/nt.hpp"
#include "engine/threads.hpp"

namespace hotpatch::engine {

namespace {

constexpr ACCESS_MASK thread_access = THREAD_SUSPEND_RESUME | THREAD_GET_CONTEXT | THREAD_QUERY_INFORMATION | SYNCHRONIZE;
constexpr std::size_t newcomer_room = 1024;      // threads that may appear between the listing and the stop
constexpr int most_passes = 16;                  // a process that makes threads faster than they are stopped is left for later
constexpr std::size_t scratch_words = 64 * 1024; // half a MiB of stack at once
constexpr std::uint64_t deepest_stack = 64ULL << 20; // more is not scanned within any budget

constexpr auto no_thread = static_cast<std::size_t>(-1); // a stack that no thread runs on

bool in_any(const std::vector<Range> &ranges, std::uint64_t address) noexcept {
    return std::any_of(ranges.begin(), ranges.end(), [address](const Range &range) { return range.contains(address); });
}

} // namespace

StopMethod usual_stop_method() {
    if (const char *wanted = test_setting("HOTPATCH_STOP_METHOD")) {
        return std::string_view(wanted) == "process" ? StopMethod::process : StopMethod::threads;
    }
    return nt::calls().wine ? StopMethod::process : StopMethod::threads;
}

Stop::Stop(const Process &process, Guard &guard, StopRules rules)
    : process_(process.handle.get()), guard_(&guard), block_(&guard.block()), rules_(std::move(rules)) {}

// -- before the stop
// --------------------------------------------------------------------------------------------------------------

Result<Stop> Stop::prepare(const Process &process, Guard &guard, const std::vector<Change> &changes, StopRules rules) {
    if (auto status = guard.attach(process.handle.get()); !status.ok()) {
        return status.error();
    }
    Stop stop(process, guard, std::move(rules));
    stop.block_->target = process.id;
    if (auto status = stop.describe_pages(changes); !status.ok()) {
        return status.error();
    }
    if (auto status = stop.list_threads(); !status.ok()) {
        return status.error();
    }
    return stop;
}

Status Stop::describe_pages(const std::vector<Change> &changes) {
    if (changes.size() > most_changes) {
        return Error{Code::target_stop_budget, "too many changes for one stop", "", 0};
    }
    std::copy(changes.begin(), changes.end(), block_->changes.begin());
    block_->change_count = static_cast<std::uint32_t>(changes.size());
    block_->page_count = 0;
    block_->stops_process = rules_.method == StopMethod::process;
    block_->keep_call_targets = rules_.keep_call_targets;
    std::uint64_t covered = 0;
    for (const auto &change : changes) {
        const auto end = align_up(change.address + change.length, page_size);
        for (auto page = std::max(align_down(change.address, page_size), covered); page < end; page += page_size) {
            const auto info = query_memory(process_, page);
            if (!info || info->State != MEM_COMMIT) {
                return Error{Code::target_module_unloaded, "", "", GetLastError()};
            }
            block_->pages.at(block_->page_count++) = {{page, page + page_size}, static_cast<std::uint32_t>(info->Protect)};
        }
        covered = std::max(covered, end);
    }
    return Unit{};
}

Stop::Thread Stop::describe(unique_handle handle) const noexcept {
    const auto stack = stack_of(process_, handle.get());
    return {std::move(handle), stack, false};
}

Status Stop::list_threads() {
    HANDLE previous = nullptr;
    for (HANDLE next = nullptr; nt::calls().get_next_thread(process_, previous, thread_access, 0, 0, &next) >= 0;
         next = nullptr) {
        previous = next;
        unique_handle handle(next);
        if (WaitForSingleObject(next, 0) != WAIT_OBJECT_0) {
            threads_.push_back(describe(std::move(handle)));
        } else {
            threads_.push_back({std::move(handle), {}, false}); // kept: the enumeration goes on from it
        }
        if (threads_.size() + newcomer_room > most_threads) {
            return Error{Code::target_stop_budget, "the process has too many threads", "", 0};
        }
    }
    std::erase_if(threads_, [](const Thread &thread) { return WaitForSingleObject(thread.handle.get(), 0) == WAIT_OBJECT_0; });
    for (std::size_t index = 0; index < threads_.size(); ++index) {
        auto &entry = block_->threads.at(index);
        entry.id = GetThreadId(threads_[index].handle.get());
        entry.suspend_count = 0;
        (void)suspend_count(threads_[index].handle.get(), entry.suspend_count);
    }
    block_->thread_count = 0;
    block_->process_suspended = false;
    for (auto &flag : block_->suspended) {
        flag = false;
    }
    contexts_.resize(threads_.size() + newcomer_room);
    scratch_.resize(scratch_words);
    threads_.reserve(threads_.size() + newcomer_room);
    const bool fibers = std::any_of(threads_.begin(), threads_.end(),
                                    [this](const Thread &thread) { return is_fiber(process_, thread.handle.get()); });
    if (reads_stacks() && fibers) {
        std::vector<Range> stacks;
        std::transform(threads_.begin(), threads_.end(), std::back_inserter(stacks),
                       [](const Thread &thread) { return thread.stack; });
        parked_ = parked_stacks(process_, stacks);
    }
    return Unit{};
}

// -- the stop: from here on nothing is allocated
// ------------------------------------------------------------------------------------

StopReport Stop::run() noexcept {
    StopReport report;
    begin_ = nt::ticks();
    block_->deadline = begin_ + static_cast<std::int64_t>(rules_.budget_us / nt::microseconds(1));
    block_->phase = StopPhase::gathering;
    report.result = gather(report);
    fault_point("gathered");
    auto expected = StopPhase::gathering;
    const auto next = report.result == StopResult::changed ? StopPhase::committing : StopPhase::resuming;
    if (!block_->phase.compare_exchange_strong(expected, next)) {
        await_release();
        report.result = StopResult::over_budget;
    } else if (next == StopPhase::committing) {
        report.result = commit();
        block_->phase = StopPhase::resuming;
    }
    fault_point("resuming");
    resume_all(); // after the guard: what was suspended while it resumed the others
    report.stop_us = nt::microseconds(nt::ticks() - begin_);
    report.threads = static_cast<std::uint32_t>(threads_.size());
    block_->phase = StopPhase::idle;
    return report;
}

bool Stop::reads_stacks() const noexcept {
    return !rules_.returns.empty() || !rules_.unused.empty();
}

bool Stop::in_time() const noexcept {
    return nt::microseconds(nt::ticks() - begin_) <= rules_.budget_us;
}

bool Stop::suspend_thread(std::size_t index) noexcept {
    block_->thread_count = static_cast<std::uint32_t>(index + 1); // named before it is done: the guard compares the counts
    const auto before = SuspendThread(threads_[index].handle.get());
    if (before == static_cast<DWORD>(-1)) {
        return false;
    }
    block_->threads[index].suspend_count = before; // what was listed may be old: its maker may have let it go meanwhile
    block_->suspended[index] = true;
    return true;
}

bool Stop::suspend_all() noexcept {
    if (rules_.method == StopMethod::process) {
        block_->thread_count = static_cast<std::uint32_t>(threads_.size());
        block_->process_suspended = nt::calls().suspend_process(process_) >= 0;
        return block_->process_suspended;
    }
    for (std::size_t index = 0; index < threads_.size(); ++index) {
        (void)suspend_thread(index); // one that has ended meanwhile cannot be suspended, and need not
    }
    return true;
}

// A suspension is only a request until the context was read: the call waits until the thread has really stopped. One that has not
// begun has run nothing and will not before it is resumed; on Wine its context would be waited for until its maker, who is
// stopped, lets it begin.
bool Stop::read_contexts(std::size_t first) noexcept {
    for (std::size_t index = first; index < threads_.size(); ++index) {
        auto &thread = threads_[index];
        if (thread.stack.end == 0 && !has_begun(thread.handle.get())) {
            continue;
        }
        auto &context = contexts_[index];
        context.ContextFlags = CONTEXT_CONTROL | CONTEXT_INTEGER;
        thread.stopped = GetThreadContext(thread.handle.get(), &context) != FALSE;
        if (!thread.stopped && WaitForSingleObject(thread.handle.get(), 0) != WAIT_OBJECT_0) {
            return false;
        }
    }
    return true;
}

bool Stop::is_known(std::uint32_t id) const noexcept {
    const auto known = std::span(block_->threads).first(threads_.size());
    return std::any_of(known.begin(), known.end(), [id](const StoppedThread &thread) { return thread.id == id; });
}

// Where the search for newcomers begins. Wine keeps threads in the order in which they were made, so that newcomers stand behind
// the last one that was listed; there each step costs as much as half a context, and to walk past those that are known would
// double the stop. Windows documents no order: the search goes from the beginning, where a step costs little.
HANDLE Stop::last_listed() const noexcept {
    const bool ordered = rules_.method == StopMethod::process && nt::calls().wine;
    return ordered && !threads_.empty() && threads_.back().stopped ? threads_.back().handle.get() : nullptr;
}

// One pass over the process' threads; true when it found nobody new. Newcomers are stopped on the way.
bool Stop::add_newcomers() noexcept {
    const std::size_t known = threads_.size();
    HANDLE previous = last_listed();
    unique_handle current;
    for (HANDLE next = nullptr; nt::calls().get_next_thread(process_, previous, thread_access, 0, 0, &next) >= 0;
         next = nullptr) {
        unique_handle handle(next);
        const auto id = GetThreadId(next);
        const bool fresh = id != 0 && !is_known(id) && WaitForSingleObject(next, 0) != WAIT_OBJECT_0;
        if (fresh && threads_.size() == threads_.capacity()) {
            return false;
        }
        if (fresh) {
            auto &entry = block_->threads[threads_.size()];
            entry = {id, 0};
            (void)suspend_count(next, entry.suspend_count);
            threads_.push_back(describe(std::move(handle)));
            if (rules_.method == StopMethod::threads) {
                (void)suspend_thread(threads_.size() - 1);
            }
            previous = next;
        } else {
            previous = next;
            current = std::move(handle);
        }
    }
    return threads_.size() == known;
}

StopResult Stop::gather(StopReport &report) noexcept {
    if (!suspend_all()) {
        return WaitForSingleObject(process_, 0) == WAIT_OBJECT_0 ? StopResult::exited : StopResult::write_failed;
    }
    std::size_t seen = 0;
    for (int pass = 0; pass < most_passes; ++pass) {
        if (!read_contexts(seen)) {
            return StopResult::over_budget;
        }
        seen = threads_.size();
        if (!in_time()) {
            return StopResult::over_budget;
        }
        if (add_newcomers()) {
            if (std::none_of(threads_.begin(), threads_.end(), [](const Thread &thread) { return thread.stopped; })) {
                return StopResult::exited;
            }
            return inspect(report);
        }
    }
    return StopResult::over_budget;
}

StopResult Stop::inspect(StopReport &report) noexcept {
    report.unused = !rules_.unused.empty();
    for (std::size_t index = 0; index < threads_.size(); ++index) {
        if (!threads_[index].stopped) {
            continue;
        }
        const auto &context = contexts_[index];
        if (in_any(rules_.code, context.Rip)) {
            record(report.obstacle, index, context.Rip, used_stack(index));
            return StopResult::busy;
        }
        inspect_registers(context, report);
        if (reads_stacks() && !inspect_stack(index, used_stack(index), report)) {
            return report.obstacle.found ? StopResult::busy : StopResult::over_budget;
        }
    }
    for (const auto &stack : parked_) {
        if (!inspect_stack(no_thread, stack, report)) {
            return report.obstacle.found ? StopResult::busy : StopResult::over_budget;
        }
    }
    if (!in_time()) {
        return StopResult::over_budget;
    }
    return reads_as(process_, *block_, Side::before) ? StopResult::changed : StopResult::mismatch;
}

void Stop::inspect_registers(const CONTEXT &context, StopReport &report) const noexcept {
    for (const auto value :
         {context.Rip, context.Rax, context.Rbx, context.Rcx, context.Rdx, context.Rsi, context.Rdi, context.Rbp, context.R8,
          context.R9, context.R10, context.R11, context.R12, context.R13, context.R14, context.R15}) {
        report.unused = report.unused && !in_any(rules_.unused, value);
    }
}

// From the stack pointer to the stack's base. A fiber runs on a stack of its own, which then is what the memory map says.
Range Stop::used_stack(std::size_t index) const noexcept {
    const auto pointer_now = align_down(contexts_[index].Rsp, sizeof(std::uint64_t));
    const auto &stack = threads_[index].stack;
    if (stack.contains(pointer_now)) {
        return {pointer_now, stack.end};
    }
    const auto info = query_memory(process_, pointer_now);
    if (!info || info->State != MEM_COMMIT) {
        return {pointer_now, pointer_now};
    }
    return {pointer_now, reinterpret_cast<std::uint64_t>(info->BaseAddress) + info->RegionSize};
}

// Every aligned word of the used part of the stack. False when a word is in the way or the stack cannot be read in time.
bool Stop::inspect_stack(std::size_t index, const Range &used, StopReport &report) noexcept {
    if (used.end - used.begin > deepest_stack) {
        return false;
    }
    for (auto begin = used.begin; begin < used.end;) {
        const auto count = std::min<std::uint64_t>(scratch_.size(), (used.end - begin) / sizeof(std::uint64_t));
        const auto words = std::span(scratch_).first(count);
        if (count == 0 || !read_memory(process_, begin, {reinterpret_cast<std::uint8_t *>(words.data()), words.size_bytes()}) ||
            !in_time()) {
            return count == 0;
        }
        for (const auto word : words) {
            if (in_any(rules_.returns, word)) {
                record(report.obstacle, index, word, used);
                return false;
            }
            report.unused = report.unused && !in_any(rules_.unused, word);
        }
        begin += words.size_bytes();
    }
    return true;
}

void Stop::record(Obstacle &obstacle, std::size_t index, std::uint64_t address, const Range &used) const noexcept {
    obstacle.found = true;
    obstacle.thread = index == no_thread ? 0 : block_->threads[index].id;
    obstacle.instruction = index == no_thread ? address : contexts_[index].Rip;
    obstacle.address = address;
    const auto words = std::min<std::uint64_t>(obstacle.stack.size(), (used.end - used.begin) / sizeof(std::uint64_t));
    const std::span bytes(reinterpret_cast<std::uint8_t *>(obstacle.stack.data()), words * sizeof(std::uint64_t));
    obstacle.depth = read_memory(process_, used.begin, bytes) ? words : 0;
}

StopResult Stop::commit() noexcept {
    fault_point("committing");
    if (write_side(process_, *block_, Side::after) && reads_as(process_, *block_, Side::after)) {
        FlushInstructionCache(process_, nullptr, 0);
        return StopResult::changed;
    }
    if (WaitForSingleObject(process_, 0) == WAIT_OBJECT_0) {
        return StopResult::exited;
    }
    const bool undone = write_side(process_, *block_, Side::before) && reads_as(process_, *block_, Side::before);
    return undone ? StopResult::write_failed : StopResult::inconsistent;
}

void Stop::resume_all() noexcept {
    if (block_->process_suspended) {
        nt::calls().resume_process(process_);
        block_->process_suspended = false;
    }
    for (std::size_t index = threads_.size(); index-- > 0;) { // the newest first, as in resume_suspended
        if (block_->suspended[index]) {
            ResumeThread(threads_[index].handle.get());
            block_->suspended[index] = false;
        }
    }
}

// The guard took over. One that is killed while it resumes leaves the rest to the engine.
void Stop::await_release() const noexcept {
    while (block_->phase != StopPhase::released && guard_->watches()) {
        Sleep(1);
    }
}

} // namespace hotpatch::engine
