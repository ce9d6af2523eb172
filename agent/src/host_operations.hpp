// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The operations on the host itself, its store, its trust and its jobs.
#pragma once

#include "agent_context.hpp"
#include "json.hpp"
#include "result.hpp"

namespace hotpatch {

[[nodiscard]] Result<Json> host_info_operation(Call &call, const Json &arguments);
[[nodiscard]] Result<Json> store_query_operation(Call &call, const Json &arguments);
[[nodiscard]] Result<Json> store_import_operation(Call &call, const Json &arguments);
[[nodiscard]] Result<Json> store_fetch_operation(Call &call, const Json &arguments);
[[nodiscard]] Result<Json> store_remove_operation(Call &call, const Json &arguments);
[[nodiscard]] Result<Json> trust_get_operation(Call &call, const Json &arguments);
[[nodiscard]] Result<Json> trust_set_operation(Call &call, const Json &arguments);
[[nodiscard]] Result<Json> enrollment_set_operation(Call &call, const Json &arguments);
[[nodiscard]] Result<Json> package_install_operation(Call &call, const Json &arguments);
[[nodiscard]] Result<Json> job_status_operation(Call &call, const Json &arguments);
[[nodiscard]] Result<Json> reboot_operation(Call &call, const Json &arguments);
[[nodiscard]] Result<Json> boot_id_operation(Call &call, const Json &arguments);

[[nodiscard]] Json stored_json(const StoredObject &stored);

} // namespace hotpatch
