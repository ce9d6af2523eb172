// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The transaction on one module of one process: prepare, stop, commit, verify, resume, journal; and the way back.
#pragma once

#include <memory>
#include <optional>

#include "engine/blocking.hpp"
#include "engine/guard.hpp"
#include "engine/inspect.hpp"
#include "engine/journal.hpp"
#include "engine/stop.hpp"

namespace hotpatch::engine {

class Transaction {
public:
    Transaction(Journal &journal, const Limits &limits, GuardPost &guards)
        : journal_(&journal), limits_(limits), guards_(&guards) {}

    // Whether anything was stopped, or was about to be.
    [[nodiscard]] bool used_guard() const noexcept { return used_guard_; }

    // Brings the payload into force in a module that passed its inspection. Fills the report; a failure leaves the module as it
    // was.
    void apply(const Candidate &candidate, const Payload &payload, Inspection &inspection);

    // Takes a patch out of force and frees its region if nothing uses it any more.
    void revert(const Process &process, Patch patch, ProcessReport &report);

    // Frees the region of a patch that is out of force, once nothing uses it. True when nothing of the patch is left.
    [[nodiscard]] Result<bool> release(const Process &process, Patch patch);

    // Makes the changes that an engine which died has left to make, in a stop of its own.
    [[nodiscard]] std::optional<Error> complete(const Process &process, Patch &patch, const std::vector<Change> &changes);

    // Records a patch's next phase: what is about to be done, and what is done.
    [[nodiscard]] Status advance(Patch &patch, Phase phase);
    [[nodiscard]] Status conclude(Patch &patch, Phase phase);

    // Removes what a patch that never came into force has in the target.
    [[nodiscard]] Status undo(const Process &process, Patch patch);

private:
    struct Outcome {
        std::optional<Error> error;
        std::optional<Blocking> blocking;
        bool unused = false; // nothing uses the regions that left
    };

    [[nodiscard]] std::optional<Error> prepare(const Process &process, Patch &patch, const Payload &payload, bool cfg);
    [[nodiscard]] Outcome commit(const Process &process, Patch &patch, const std::vector<const Patch *> &leaving, bool cfg,
                                 ProcessReport &report);
    [[nodiscard]] Outcome stop_and_change(const Process &process, Patch &patch, const std::vector<Change> &changes,
                                          StopRules rules, const std::vector<NamedRange> &names, ProcessReport &report);
    void retire(const Process &process, Patch patch, bool unused, ProcessReport &report);
    [[nodiscard]] Status free(const Process &process, Patch patch);
    [[nodiscard]] Result<Guard *> guard();

    Journal *journal_;
    Limits limits_;
    GuardPost *guards_;
    bool used_guard_ = false;
};

// Redirects short entries while the target runs: first every padding, then one aligned two-byte exchange for each entry.
// False, and nothing changed, where the system lets nobody write to a page that is not writable.
[[nodiscard]] Result<bool> exchange(const Process &process, const Patch &patch);

[[nodiscard]] std::uint64_t unix_time();

} // namespace hotpatch::engine
