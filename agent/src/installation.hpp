// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Bringing the agent onto the host as a service, upgrading it, and removing all of it.
#pragma once

#include "agent_context.hpp"
#include "json.hpp"
#include "result.hpp"

namespace hotpatch {

// This very program, copied below its hash into the agent's folder; gives the path. An existing copy is checked, not trusted.
[[nodiscard]] Result<std::wstring> place_agent(const Paths &paths);

// `agent_install` and `agent_uninstall`; both are carried out by the calling process, never by the service.
[[nodiscard]] Result<Json> install_agent(Call &call, const Json &arguments);
[[nodiscard]] Result<Json> uninstall_agent(Call &call, const Json &arguments);

} // namespace hotpatch
