// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The region of new code in the target: found near the module, filled, relocated, made executable, read back; and freed.
// All of it happens while the target runs. No page of it is ever writable and executable.
#pragma once

#include <optional>

#include "engine/patch.hpp"
#include "result.hpp"

namespace hotpatch::engine {

// Payload's part plus the trailer (nonce, then the RUNTIME_FUNCTIONs), in whole pages.
[[nodiscard]] std::uint32_t allocation_size_of(const Payload &payload);
[[nodiscard]] std::uint64_t unwind_table_of(const Patch &patch); // its address in the target

// A free address from which `size` bytes lie within ±2 GiB of every byte of the module; the nearest one. target_no_memory_near.
[[nodiscard]] Result<std::uint64_t> find_near(HANDLE process, const Range &module, std::uint32_t size);

// Allocates exactly where the patch says (target_no_memory_near when somebody was faster) and marks it as ours.
[[nodiscard]] Status allocate_region(HANDLE process, const Patch &patch);

// Writes sections, fixups and the unwind table, sets the protections, flushes the instruction cache, and reads everything back.
[[nodiscard]] Status fill_region(HANDLE process, const Patch &patch, const Payload &payload, bool guarded_by_cfg);

// True while the allocation at the patch's region is the one we made.
[[nodiscard]] bool owns_region(HANDLE process, const Patch &patch);
[[nodiscard]] bool free_region(HANDLE process, const Patch &patch);

} // namespace hotpatch::engine
