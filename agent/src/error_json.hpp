// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// An error as the wire has it, and back again from a file of the agent's own.
#pragma once

#include "json.hpp"
#include "result.hpp"

namespace hotpatch {

// {"code", "message", "where", "remedy", "details"}; an empty message becomes the table's text.
[[nodiscard]] Json error_json(const Error &error);
[[nodiscard]] Json error_json(const Error &error, Json details);

// What was written by error_json; an unknown code becomes agent_internal with the same words.
[[nodiscard]] Error error_of_json(const Json &json);

} // namespace hotpatch
