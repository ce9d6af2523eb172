// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Where no thread may be when patches enter or leave a module (docs/payload.md, "What quiescence promises").
#pragma once

#include <span>
#include <vector>

#include "engine/blocking.hpp"
#include "engine/patch.hpp"
#include "engine/stop.hpp"

namespace hotpatch::engine {

// `leaving` are in force and go, `entering` (may be null) comes, in one stop.
[[nodiscard]] StopRules rules_for(std::span<const Patch *const> leaving, const Patch *entering);

// Names for every place that the rules speak of.
[[nodiscard]] std::vector<NamedRange> names_for(std::span<const Patch *const> leaving, const Patch *entering);

// True when the patch can come into force without a stop: `entry` suffices and each entry is one aligned two-byte exchange.
[[nodiscard]] bool needs_no_stop(std::span<const Patch *const> leaving, const Patch &entering);

} // namespace hotpatch::engine
