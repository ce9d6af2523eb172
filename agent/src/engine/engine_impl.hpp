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
    GuardPost guards; // the guard of the last stops is dismissed by a round of the watch that needs none

    // The watch's memory: what a process' module list looked like when it was last searched, and what was already said.
    struct Seen {
        std::uint64_t tail = 0;
        // Payloads for which the modules as they are were answered, with what is wrong as long as they stay so.
        std::map<std::string, std::vector<Error>> answered;
        std::uint32_t undone = 0; // how often a patch had gone from its module
    };
    std::map<ProcessId, Seen> seen;
    std::uint32_t round = 0;

    // Every look at a retired region stops its process, so the looks at one that stays in use grow rarer.
    struct Pause {
        std::uint64_t until = 0; // GetTickCount64
        std::uint64_t length_ms = 0;
    };
    std::map<std::uint64_t, Pause> pauses; // by transaction

    Impl(Journal opened, GuardPost opened_guards) : journal(std::move(opened)), guards(std::move(opened_guards)) {}

    // One candidate, to the end: inspected, and patched when it may be and `change` is true.
    [[nodiscard]] ProcessReport treat(Candidate &candidate, const Payload &payload, Transaction &transaction, bool change);
    [[nodiscard]] Result<Report> treat_all(const Payload &payload, std::span<const std::uint32_t> pids, const Limits &limits,
                                           bool change);
    // Where a patch stands now, read from the target; closes patches whose process or module has gone.
    [[nodiscard]] std::optional<ProcessReport> look_at(const Patch &patch);
    // Everything in force, without the names of services, which only people need: asking for them costs more than the rest.
    [[nodiscard]] std::vector<InForce> look_at_all();
    // The watch's look at one process for one payload: patches what it finds; true when there is nothing to try again.
    [[nodiscard]] bool answer(const ProcessEntry &entry, const Payload &payload, Transaction &transaction,
                              std::vector<Error> &wrong);
    // Looks at what the journal says is in force in a module that is about to be inspected.
    void look_at_module(const Candidate &candidate);
    void retire_gone(const Patch &patch);
    void release_retired(Transaction &transaction, const Limits &limits);
    [[nodiscard]] bool may_look_again(const Patch &retired, const Limits &limits);
};

} // namespace hotpatch::engine
