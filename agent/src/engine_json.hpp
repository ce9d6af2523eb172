// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What the engine reports, as the wire has it.
#pragma once

#include "engine.hpp"
#include "json.hpp"

namespace hotpatch {

[[nodiscard]] Json report_json(const engine::Report &report);
// One process of host_info's section "payloads".
[[nodiscard]] Json in_force_process_json(const engine::ProcessReport &process);
[[nodiscard]] std::string_view name_of(engine::State state);
[[nodiscard]] std::string_view name_of(engine::Remedy remedy);

} // namespace hotpatch
