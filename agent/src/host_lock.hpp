// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// One changer at a time, on the whole host.
#pragma once

#include "files.hpp"
#include "handle.hpp"
#include "result.hpp"

namespace hotpatch {

// Held while the object lives. It is a file in the agent's folder opened for one process alone: nobody but an administrator can
// reach it (a named mutex could be taken beforehand by any user), and Windows gives it back when its owner dies, so it is never
// left over.
class HostLock {
public:
    static constexpr unsigned default_wait_ms = 5000;

    // agent_busy when someone else holds it for that long.
    [[nodiscard]] static Result<HostLock> acquire(const Paths &paths, unsigned wait_ms = default_wait_ms);

private:
    explicit HostLock(unique_handle file) : file_(std::move(file)) {}
    unique_handle file_;
};

} // namespace hotpatch
