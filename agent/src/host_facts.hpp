// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The sections of host_info that come from Windows itself.
#pragma once

#include <string_view>

#include "json.hpp"

namespace hotpatch {

[[nodiscard]] Json host_section();
[[nodiscard]] Json updates_section();
[[nodiscard]] Json arc_section();
[[nodiscard]] Json pending_reboot_section();

[[nodiscard]] bool reboot_is_pending();
// Whether Windows puts another file in the place of this one, or removes it, when it starts the next time.
[[nodiscard]] bool is_replaced_at_boot(std::wstring_view path);

} // namespace hotpatch
