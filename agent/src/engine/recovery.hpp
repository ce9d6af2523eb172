// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// After a crash: finishes or undoes every transaction that the journal shows half done, by what stands in the target's memory.
#pragma once

#include "engine/guard.hpp"
#include "engine/journal.hpp"

namespace hotpatch::engine {

// Every open patch is afterwards applied, retired or closed, or its process is in a state that nobody can mend and that
// in_force() calls inconsistent. An error only when the journal itself cannot be written.
[[nodiscard]] Status recover(Journal &journal, GuardPost &guards);

} // namespace hotpatch::engine
