// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The sections of host_info that come from Windows itself.
#pragma once

#include "json.hpp"

namespace hotpatch {

[[nodiscard]] Json host_section();
[[nodiscard]] Json updates_section();
[[nodiscard]] Json arc_section();
[[nodiscard]] Json pending_reboot_section();

[[nodiscard]] bool reboot_is_pending();

} // namespace hotpatch
