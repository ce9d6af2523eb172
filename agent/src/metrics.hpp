// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Metrics in Prometheus' text format, for the textfile collector of windows_exporter.
#pragma once

#include <string>
#include <vector>

#include "agent_context.hpp"
#include "engine.hpp"

namespace hotpatch {

struct MetricsInput {
    std::vector<engine::InForce> in_force;
    std::vector<AlertBoard::Alert> alerts;
    std::size_t wanted = 0;
    std::uint64_t rounds = 0;     // of the watch, since the service started
    std::uint64_t last_watch = 0; // seconds since 1970 UTC
};

[[nodiscard]] std::string metrics_text(const MetricsInput &input);

} // namespace hotpatch
