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

// The modules of one process. target_exited, or target_access_denied when Windows does not let the agent look into it.
[[nodiscard]] Result<std::vector<Candidate>> candidates_in(const ProcessEntry &entry, const Target &target);

struct Candidates {
    std::vector<Candidate> modules;
    std::vector<ProcessReport> closed; // processes that may run the module, but cannot be looked into
};

// Those of every process of the host, or of the ones in `pids` when there are any.
[[nodiscard]] Result<Candidates> find_candidates(const Target &target, std::span<const std::uint32_t> pids);

} // namespace hotpatch::engine
