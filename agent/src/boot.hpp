// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Which boot of the host is this? A volatile registry key answers: Windows drops it at shutdown, whatever the clocks say.
#pragma once

#include <cstdint>
#include <string>

#include "result.hpp"

namespace hotpatch {

struct Boot {
    std::string id;            // UUID, made by whoever asks first in a boot
    std::uint64_t started = 0; // seconds since 1970 UTC
};

[[nodiscard]] Result<Boot> current_boot();

} // namespace hotpatch
