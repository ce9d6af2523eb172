// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Places at which the tests let the engine die, and what they pretend about the host. Only programs built with HOTPATCH_FAULTS
// have them (the tests' engine-tool); in the released agent these calls are nothing.
#pragma once

namespace hotpatch::engine {

#ifdef HOTPATCH_FAULTS
// Ends this process at once, without any clean-up, at the place that HOTPATCH_FAULT_AT names, by name or number (the first is 1).
void fault_point(const char *name) noexcept;
[[nodiscard]] int fault_points_met() noexcept;
// A place at which the tests let the engine wait (HOTPATCH_HOLD_AT, below), as they can at every place above.
void hold_point(const char *name) noexcept;
// The value of an environment variable: HOTPATCH_STOP_METHOD (threads or process), HOTPATCH_STRICT_PAGES (nobody writes to a page
// that is not writable, as on Windows), HOTPATCH_GUARD_DIES (the guard dies with the engine), HOTPATCH_THREAD_HANGS (the threads
// that the engine starts in the target do not begin), HOTPATCH_MITIGATIONS (what Windows
// answers about a process where Wine has no answer, separated by commas), HOTPATCH_HOLD_AT (the engine waits at the place of this
// name while the file that HOTPATCH_HOLD_FILE names exists, which it creates there).
[[nodiscard]] const char *test_setting(const char *name) noexcept;
#else
inline void fault_point(const char * /*name*/) noexcept {}
inline void hold_point(const char * /*name*/) noexcept {}
[[nodiscard]] inline const char *test_setting(const char * /*name*/) noexcept {
    return nullptr;
}
#endif

} // namespace hotpatch::engine
