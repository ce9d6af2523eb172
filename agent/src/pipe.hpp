// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The named pipe between `hotpatch-agent call` and the service: a length of four bytes (little endian) and the document, each
// way.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "handle.hpp"
#include "result.hpp"

namespace hotpatch {

// Hands one request to the service and gives its reply. `service_pid` is the process the service control manager names; another
// server of the pipe gets nothing (access_denied).
[[nodiscard]] Result<std::string> ask_service(std::string_view request, std::uint32_t service_pid);

// Serves until `stop` is signalled: each connection in a thread of its own, all of them done when this returns.
[[nodiscard]] Status serve_pipe(HANDLE stop, const std::function<std::string(std::string_view)> &answer);

} // namespace hotpatch
