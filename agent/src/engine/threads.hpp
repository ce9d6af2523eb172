// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Threads of another process, one after the other.
#pragma once

#include <vector>

#include "engine/memory.hpp"
#include "engine/nt.hpp"
#include "handle.hpp"

namespace hotpatch::engine {

// Calls `visit(HANDLE)` with each thread of the process until it returns false. The handles are closed behind it.
template <typename Visit> void each_thread(HANDLE process, ACCESS_MASK access, Visit visit) {
    unique_handle place; // the enumeration goes on from the last handle, which must stay open
    for (HANDLE next = nullptr; nt::calls().get_next_thread(process, place.get(), access, 0, 0, &next) >= 0; next = nullptr) {
        place = unique_handle(next);
        if (!visit(next)) {
            return;
        }
    }
}

// The memory that a thread's stack may take, from the deepest address to its base; empty when it cannot be read.
[[nodiscard]] Range stack_of(HANDLE process, HANDLE thread) noexcept;

// False for a thread that was made and has not begun: on Wine it has no environment block yet.
[[nodiscard]] bool has_begun(HANDLE thread) noexcept;

// True for a thread that was made a fiber: its process may have parked stacks.
[[nodiscard]] bool is_fiber(HANDLE process, HANDLE thread) noexcept;

// Stacks that belong to no running thread: those of parked fibers. They are recognised as Windows and Wine make every stack, a
// private allocation with a guard page; their whole committed part is given, because where a parked fiber's stack ends is known
// to nobody else.
[[nodiscard]] std::vector<Range> parked_stacks(HANDLE process, const std::vector<Range> &stacks_of_threads);

} // namespace hotpatch::engine
