// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The operations on payloads: from the wire's arguments through trust and store to the engine, and back to the wire.
#pragma once

#include <vector>

#include "agent_context.hpp"
#include "json.hpp"
#include "payload_verify.hpp"
#include "result.hpp"
#include "trust.hpp"

namespace hotpatch {

[[nodiscard]] Result<Json> preflight_operation(Call &call, const Json &arguments);
[[nodiscard]] Result<Json> apply_operation(Call &call, const Json &arguments);
[[nodiscard]] Result<Json> revert_operation(Call &call, const Json &arguments);

// Sections of host_info.
[[nodiscard]] Result<Json> payloads_section(Call &call);
[[nodiscard]] Result<Json> coverage_section(Call &call);

// The payloads that must be in force, with the reason for each that must not (any more).
struct Wanted {
    std::vector<Payload> payloads;
    std::vector<Error> refused; // expired, revoked, missing in the store, …
};
[[nodiscard]] Result<Wanted> load_wanted(const Paths &paths);

// Objects that must not be removed: payloads wanted or in force.
[[nodiscard]] Result<std::vector<Sha256>> objects_in_force(Call &call);

// Before the agent goes: reverts everything in force, or, when `revert` is false, refuses if there is anything
// (store_object_in_use).
[[nodiscard]] Status leave_nothing_in_force(Call &call, bool revert);

} // namespace hotpatch
