// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/stop_block.hpp"

#include <algorithm>
#include <span>

#include "engine/faults.hpp"
#include "engine/nt.hpp"
#include "handle.hpp"

namespace hotpatch::engine {

namespace {

constexpr std::size_t largest_run = 512; // bytes written at once: changes that touch each other
constexpr std::size_t largest_span =
    32 * 1024; // bytes read at once: on Wine 32 KiB take little longer than 16 bytes (55 and 33 us)

const std::array<std::uint8_t, largest_site> &bytes_of(const Change &change, Side side) noexcept {
    return side == Side::before ? change.before : change.after;
}

std::span<const Change> changes_of(const StopBlock &block) noexcept {
    return std::span(block.changes).first(block.change_count);
}

// The changes that `same` binds to the first, beginning with it.
template <typename Same> std::span<const Change> leading(std::span<const Change> changes, Same same) noexcept {
    std::size_t count = 1;
    while (count < changes.size() && same(changes[0], changes[count - 1], changes[count])) {
        ++count;
    }
    return changes.first(count);
}

bool touching(const Change &first, const Change &last, const Change &next) noexcept {
    return last.address + last.length == next.address && next.address + next.length - first.address <= largest_run;
}

bool in_span(const Change &first, const Change &, const Change &next) noexcept {
    return next.address + next.length - first.address <= largest_span;
}

bool write_run(HANDLE process, std::span<const Change> run, Side side) noexcept {
    fault_point("write");
    std::array<std::uint8_t, largest_run> bytes;
    std::size_t length = 0;
    for (const auto &change : run) {
        const auto &source = bytes_of(change, side);
        std::copy_n(source.begin(), change.length, bytes.begin() + static_cast<std::ptrdiff_t>(length));
        length += change.length;
    }
    return write_memory(process, run.front().address, std::span(bytes).first(length));
}

bool write_runs(HANDLE process, const StopBlock &block, Side side) noexcept {
    for (auto rest = changes_of(block); !rest.empty();) {
        const auto run = leading(rest, touching);
        if (!write_run(process, run, side)) {
            return false;
        }
        rest = rest.subspan(run.size());
    }
    return true;
}

bool make_writable(HANDLE process, const StopBlock &block) noexcept {
    const auto pages = std::span(block.pages).first(block.page_count);
    return std::all_of(pages.begin(), pages.end(),
                       [process](const auto &page) { return protect_memory(process, page.range, PAGE_READWRITE).has_value(); });
}

void resume_thread(HANDLE process, const StoppedThread &before) noexcept {
    const unique_handle thread(OpenThread(THREAD_SUSPEND_RESUME | THREAD_QUERY_INFORMATION, FALSE, before.id));
    std::uint32_t count = 0;
    if (thread && GetProcessIdOfThread(thread.get()) == GetProcessId(process) && suspend_count(thread.get(), count) &&
        count > before.suspend_count) {
        ResumeThread(thread.get());
    }
}

bool is_suspended(HANDLE process, const StoppedThread &before) noexcept {
    const unique_handle thread(OpenThread(THREAD_QUERY_INFORMATION, FALSE, before.id));
    std::uint32_t count = 0;
    return thread && GetProcessIdOfThread(thread.get()) == GetProcessId(process) && suspend_count(thread.get(), count) &&
           count > before.suspend_count;
}

// True while a thread that the block names is suspended more often than before the stop.
bool still_stopped(HANDLE process, const StopBlock &block) noexcept {
    const auto threads = std::span(block.threads).first(block.thread_count.load());
    return std::any_of(threads.begin(), threads.end(), [process](const auto &thread) { return is_suspended(process, thread); });
}

// The engine is dead, so what it was about to suspend may be suspended without being named: the last thread, or the process.
void name_last_suspension(StopBlock &block) noexcept {
    const std::size_t count = block.thread_count;
    if (block.stops_process) {
        block.process_suspended = count > 0;
    } else if (count > 0) {
        block.suspended[count - 1] = true;
    }
}

// Gives every page the protection it had before the stop.
bool restore_protections(HANDLE process, const StopBlock &block) noexcept {
    const std::uint32_t keep_targets = block.keep_call_targets ? PAGE_TARGETS_NO_UPDATE : 0;
    bool all = true;
    for (const auto &page : std::span(block.pages).first(block.page_count)) {
        const auto info = query_memory(process, page.range.begin);
        const bool same = info && info->Protect == page.protection;
        all = (same || protect_memory(process, page.range, page.protection | keep_targets).has_value()) && all;
    }
    return all;
}

} // namespace

bool suspend_count(HANDLE thread, std::uint32_t &count) noexcept {
    ULONG value = 0;
    if (nt::calls().query_thread(thread, nt::thread_suspend_count, &value, sizeof value, nullptr) < 0) {
        return false;
    }
    count = value;
    return true;
}

void resume_suspended(HANDLE process, StopBlock &block) noexcept {
    if (block.process_suspended && still_stopped(process, block)) {
        nt::calls().resume_process(process);
    }
    block.process_suspended = false;
    for (std::size_t index = block.thread_count; index-- > 0;) {
        if (block.suspended[index]) {
            resume_thread(process, block.threads[index]);
            block.suspended[index] = false;
        }
    }
}

void undo_stop(HANDLE process, StopBlock &block) noexcept {
    if (block.phase == StopPhase::idle) {
        return;
    }
    if (block.phase == StopPhase::committing) {
        // When this fails nothing better is left than to let it run: the journal's next reader will call it inconsistent.
        (void)write_side(process, block, Side::before);
        (void)restore_protections(process, block); // the engine may have died while the pages were writable
    }
    name_last_suspension(block);
    resume_suspended(process, block);
    block.phase = StopPhase::idle;
}

bool reads_as(HANDLE process, const StopBlock &block, Side side) noexcept {
    std::array<std::uint8_t, largest_span> memory;
    for (auto rest = changes_of(block); !rest.empty();) {
        const auto span = leading(rest, in_span);
        const auto begin = span.front().address;
        const auto length = span.back().address + span.back().length - begin;
        if (!read_memory(process, begin, std::span(memory).first(length))) {
            return false;
        }
        for (const auto &change : span) {
            const auto actual = memory.begin() + static_cast<std::ptrdiff_t>(change.address - begin);
            if (!std::equal(actual, actual + change.length, bytes_of(change, side).begin())) {
                return false;
            }
        }
        rest = rest.subspan(span.size());
    }
    return true;
}

bool write_side(HANDLE process, const StopBlock &block, Side side) noexcept {
    if (write_runs(process, block, side)) {
        return true;
    }
    const bool writable = make_writable(process, block);
    fault_point("pages writable");
    const bool written = writable && write_runs(process, block, side);
    fault_point("pages written");
    return restore_protections(process, block) && written;
}

} // namespace hotpatch::engine
