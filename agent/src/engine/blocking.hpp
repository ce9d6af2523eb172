// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Names for the thread that was in the way.
#pragma once

#include "engine.hpp"
#include "engine/process.hpp"
#include "engine/stop.hpp"

namespace hotpatch::engine {

// A piece of code with a name: a function, old or new.
struct NamedRange {
    std::string name;
    Range range;
};

// Turns the raw words of an obstacle into names, after the target runs again: the function of the address in the way, and every
// word of the stack that points into code, top first, as "module+0xrva". As in the check itself no frame is guessed, so old words
// may be among them.
[[nodiscard]] Blocking name_obstacle(const Process &process, const Obstacle &obstacle, const std::vector<NamedRange> &named);

} // namespace hotpatch::engine
