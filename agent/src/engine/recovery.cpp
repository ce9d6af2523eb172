// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/recovery.hpp"

#include <algorithm>
#include <memory>

#include "engine/region.hpp"
#include "engine/transaction.hpp"
#include "engine/unwind.hpp"

namespace hotpatch::engine {

namespace {

enum class Found : std::uint8_t { before, after, mixed, foreign };

// Which side each change is on; `left` gets those that read as after.
Found look(HANDLE process, const std::vector<Change> &changes, std::vector<Change> &left) {
    std::size_t before = 0;
    for (const auto &change : changes) {
        std::array<std::uint8_t, largest_site> actual{};
        if (!read_memory(process, change.address, std::span(actual).first(change.length))) {
            return Found::foreign;
        }
        if (actual == change.after) {
            left.push_back(change);
        } else if (actual == change.before) {
            ++before;
        } else {
            return Found::foreign;
        }
    }
    return before == changes.size() ? Found::before : (left.size() == changes.size() ? Found::after : Found::mixed);
}

class Recovery {
public:
    Recovery(Journal &journal, GuardPost &guards) : journal_(&journal), transaction_(journal, Limits{}, guards) {}

    Status recover(Patch patch) {
        const auto process = open_process(patch.process, Access::change);
        if (!process.ok()) {
            return process.error().code == Code::target_exited ? transaction_.advance(patch, Phase::closed) : Status(Unit{});
        }
        switch (patch.phase) {
        case Phase::preparing:
        case Phase::allocated:
        case Phase::registering:
        case Phase::prepared:
        case Phase::releasing:
            return tolerant(transaction_.undo(process.value(), std::move(patch)));
        case Phase::committing:
            return recover_committing(process.value(), std::move(patch));
        case Phase::reverting:
            return recover_reverting(process.value(), std::move(patch));
        case Phase::applied:
            return retire_replaced(patch);
        case Phase::retired:
        case Phase::closed:
            break;
        }
        return Unit{};
    }

private:
    // A region that cannot be freed now stays in the journal and is tried again; only the journal's own failures end the
    // recovery.
    static Status tolerant(Status status) {
        const bool journal =
            !status.ok() && (status.error().code == Code::store_disk_full || status.error().code == Code::agent_internal);
        return journal ? std::move(status) : Status(Unit{});
    }

    // Puts the module on one side. It runs already: what a stop had changed was undone when its file was opened, so both sides at
    // once are left only where that failed; then the target is stopped once more.
    Found settle(const Process &process, Patch &patch, const std::vector<Change> &changes) {
        std::vector<Change> left;
        const auto found = look(process.handle.get(), changes, left);
        const bool undone =
            found == Found::mixed && patch.stopped && !transaction_.complete(process, patch, reversed(std::move(left)));
        return undone ? Found::before : found;
    }

    Status recover_committing(const Process &process, Patch patch) {
        std::vector<const Patch *> leaving;
        for (const auto old : patch.replaces) {
            const auto place = journal_->open_patches().find(old);
            if (place != journal_->open_patches().end()) {
                leaving.push_back(&place->second);
            }
        }
        auto found = settle(process, patch, changes_between(leaving, &patch));
        if (found == Found::mixed) { // only without a stop: then every entry is whole, and the rest can follow
            const auto exchanged = exchange(process, patch);
            found = exchanged.ok() && exchanged.value() ? Found::after : Found::foreign;
        }
        if (found == Found::before) {
            return tolerant(transaction_.undo(process, std::move(patch)));
        }
        if (found == Found::foreign && read_sites(process.handle.get(), patch) == SitesState::unreadable) {
            return tolerant(transaction_.undo(process, std::move(patch))); // the module is gone
        }
        patch.stopped = false;
        if (auto status = transaction_.advance(patch, Phase::applied); !status.ok()) {
            return status;
        }
        return retire_replaced(patch);
    }

    // The patches whose place an applied one took, where the engine died before it could say so.
    Status retire_replaced(const Patch &patch) {
        for (const auto transaction : patch.replaces) {
            const auto old = journal_->open_patches().find(transaction);
            if (old != journal_->open_patches().end() && old->second.phase == Phase::applied) {
                auto retired = old->second;
                if (auto status = transaction_.advance(retired, Phase::retired); !status.ok()) {
                    return status;
                }
            }
        }
        return Unit{};
    }

    Status recover_reverting(const Process &process, Patch patch) {
        const Patch *const leaving[] = {&patch};
        const auto found = settle(process, patch, changes_between(leaving, nullptr));
        patch.stopped = false;
        return transaction_.advance(patch, found == Found::after ? Phase::retired : Phase::applied);
    }

    Journal *journal_;
    Transaction transaction_;
};

} // namespace

Status recover(Journal &journal, GuardPost &guards) {
    std::vector<Patch> patches;
    for (const auto &[transaction, patch] : journal.open_patches()) {
        patches.push_back(patch);
    }
    Recovery recovery(journal, guards);
    for (auto &patch : patches) {
        if (auto status = recovery.recover(std::move(patch)); !status.ok()) {
            return status;
        }
    }
    return journal.compact();
}

} // namespace hotpatch::engine
