// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What an Engine is made of; engine.cpp and watch.cpp share it.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine.hpp"
#include "engine/candidates.hpp"
#include "engine/image.hpp"
#include "engine/journal.hpp"
#include "engine/transaction.hpp"

namespace hotpatch::engine {

struct Engine::Impl {
    Journal journal;
    ImageCache images;

    // The watch's memory: what a process' module list looked like when it was last searched, and what was already said.
    struct Seen {
        std::uint64_t tail = 0;
        // Payloads for which the modules as they are were answered, with what is wrong as long as they stay so.
        std::map<std::string, std::vector<Error>> answered;
    };
    std::map<ProcessId, Seen> seen;
    std::uint32_t round = 0;

    explicit Impl(Journal opened) : journal(std::move(opened)) {}

    // One candidate, to the end: inspected, and patched when it may be and `change` is true.
    [[nodiscard]] ProcessReport treat(Candidate &candidate, const Payload &payload, Transaction &transaction, bool change);
    [[nodiscard]] Result<Report> treat_all(const Payload &payload, std::span<const std::uint32_t> pids, const Limits &limits,
                                           bool change);
    // Where a patch stands now, read from the target; closes patches whose process or module has gone.
    [[nodiscard]] std::optional<ProcessReport> look_at(const Patch &patch);
    // Everything in force, without the names of services, which only people need: asking for them costs more than the rest.
    [[nodiscard]] std::vector<InForce> look_at_all();
    void release_retired(Transaction &transaction);
    // The watch's look at one process for one payload: patches what it finds; true when there is nothing to try again.
    [[nodiscard]] bool answer(const ProcessEntry &entry, const Payload &payload, Transaction &transaction,
                              std::vector<Error> &wrong);
};

} // namespace hotpatch::engine
