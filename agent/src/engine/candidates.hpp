// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Which loaded modules a payload is about: those of its identity, whatever they are called, and those of its name, whatever they
// are.
#pragma once

#include <span>
#include <vector>

#include "engine/inspect.hpp"

namespace hotpatch::engine {

// The modules of one process. A process that cannot be read has none.
[[nodiscard]] std::vector<Candidate> candidates_in(const ProcessEntry &entry, const Target &target);

// The modules of every process of the host, or of those in `pids` when there are any.
[[nodiscard]] Result<std::vector<Candidate>> find_candidates(const Target &target, std::span<const std::uint32_t> pids);

} // namespace hotpatch::engine
