// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The Windows event log: Application, source "hotpatch-agent"; src/events.mc lists the events.
#pragma once

#include <cstdint>
#include <string>

#include "result.hpp"

namespace hotpatch {

// One event, at most 30,000 characters of text; a log that cannot be written is no reason to fail.
void log_event(std::uint32_t event_id, const std::string &text);

// The event for an alert that begins.
[[nodiscard]] std::uint32_t event_of(Code code);

} // namespace hotpatch
