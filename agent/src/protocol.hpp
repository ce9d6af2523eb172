// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The wire of docs/protocol.md: a request in, a reply out, and which operation does what.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent_context.hpp"
#include "json.hpp"
#include "result.hpp"

namespace hotpatch {

inline constexpr std::uint64_t protocol_version = 1;
inline constexpr std::size_t largest_request = std::size_t{1} << 20U;
inline constexpr std::size_t largest_reply = std::size_t{4} << 20U;

// What answers: goes into every reply as `agent`.
struct Identity {
    Mode mode = Mode::transient;
    std::string sha256; // of this program's file

    [[nodiscard]] static Identity of_this_program(Mode mode);
};
[[nodiscard]] Json identity_json(const Identity &identity);

// Is this request one that the calling process carries out itself (agent_install, agent_uninstall)? Anything unreadable is not.
[[nodiscard]] bool is_local_operation(std::string_view request);

// Parses, carries out, and answers; there is always an answer.
[[nodiscard]] std::string answer(AgentContext &context, const Identity &identity, std::string_view request);

// A reply around a result or an error that came about elsewhere.
[[nodiscard]] std::string reply(const Identity &identity, const Result<Json> &result);
// Whether a reply holds an error: the exit code of `call`.
[[nodiscard]] bool holds_error(std::string_view reply);

} // namespace hotpatch
