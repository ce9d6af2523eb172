// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Whether a process still holds a pointer into a region that shall be freed. Stacks and registers were looked at in a stop; a
// function that was registered as a callback, or a constant whose address was kept, is a pointer in ordinary memory.
#pragma once

#include <windows.h>

#include "engine/patch.hpp"

namespace hotpatch::engine {

// Reads all writable memory of the running process, twice, and looks for aligned pointers into the payload's part of the region.
// True also when that memory is too large to be read in reasonable time: a region that is kept costs little, one that is missed a
// crash.
[[nodiscard]] bool points_into(HANDLE process, const Patch &patch);

} // namespace hotpatch::engine
