// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The registry values that enrol a host in Windows' own hotpatching, by name.
#pragma once

#include "json.hpp"
#include "result.hpp"

namespace hotpatch {

// Every known name with what the registry holds, null when absent.
[[nodiscard]] Json enrollment_values();

// Carries out `enrollment_set`; all values are checked before the first is written.
[[nodiscard]] Result<Json> set_enrollment(const Json &arguments, bool dry_run);

} // namespace hotpatch
