// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// `hotpatch-agent serve`: the service's own entry.
#pragma once

namespace hotpatch {

// Gives the process' exit code. Only the service control manager may start it.
[[nodiscard]] int serve();

} // namespace hotpatch
