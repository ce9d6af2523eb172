// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Unwind data of new code. x64 can only unwind through code that has a RUNTIME_FUNCTION, and a table for code outside an image
// must be registered by a thread of the process itself (RtlAddFunctionTable).
#pragma once

#include "engine/patch.hpp"
#include "result.hpp"

namespace hotpatch::engine {

// Both run one short thread in the target, before or after the stop, never in it, and wait for it within a bound. The thread does
// not call DllMain functions (THREAD_CREATE_FLAGS_SKIP_THREAD_ATTACH), so it does not need the loader lock. target_write_failed
// when the thread could not do its work; target_busy when it did not end in time: it may still run later, so the region must then
// be kept. So it is also for unregister_unwind while a thread that registers this table runs still, whoever started it: an engine
// that died may have left one behind.
[[nodiscard]] Status register_unwind(const Process &process, const Patch &patch);
[[nodiscard]] Status unregister_unwind(const Process &process, const Patch &patch);

} // namespace hotpatch::engine
