// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// trust.json and desired.json: whom this host trusts, and what must be in force on it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "files.hpp"
#include "json.hpp"
#include "payload_verify.hpp"
#include "result.hpp"

namespace hotpatch {

// An absent file is an empty Trust; anything but the form the agent writes is store_damaged.
[[nodiscard]] Result<Trust> load_trust(const Paths &paths);
[[nodiscard]] Status save_trust(const Paths &paths, const Trust &trust);

// The wanted state of `trust_set` as a Trust without sequences.
[[nodiscard]] Result<Trust> trust_of_arguments(const Json &arguments);
[[nodiscard]] Json trust_json(const Trust &trust);

// Notes that this sequence was accepted; never lowers one. True when the file changed.
[[nodiscard]] Result<bool> accept_sequence(const Paths &paths, const std::string &payload_id, std::uint64_t sequence);

struct Desired {
    Sha256 sha256{};
    std::string id;
    std::uint64_t sequence = 0;
    std::uint64_t since = 0; // seconds since 1970 UTC
};

[[nodiscard]] Result<std::vector<Desired>> load_desired(const Paths &paths);
[[nodiscard]] Status save_desired(const Paths &paths, const std::vector<Desired> &desired);

} // namespace hotpatch
