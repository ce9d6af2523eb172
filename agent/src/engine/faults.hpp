// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Places at which the tests let the engine die. Only programs built with HOTPATCH_FAULTS have them (the tests' engine-tool);
// in the released agent the call is nothing.
#pragma once

namespace hotpatch::engine {

#ifdef HOTPATCH_FAULTS
// Ends this process at once, without any clean-up, when this is the place whose number the tests asked for.
void fault_point(const char *name) noexcept;
#else
inline void fault_point(const char * /*name*/) noexcept {}
#endif

} // namespace hotpatch::engine
