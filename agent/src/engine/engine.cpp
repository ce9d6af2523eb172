// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine.hpp"

#include <algorithm>
#include <iterator>

#include "engine/engine_impl.hpp"
#include "engine/mitigations.hpp"
#include "engine/recovery.hpp"
#include "text.hpp"

namespace hotpatch::engine {

namespace {

void add_services(std::vector<ProcessReport> &processes) {
    if (processes.empty()) {
        return;
    }
    const auto names = service_names();
    for (auto &process : processes) {
        const auto place = names.find(process.pid);
        if (place != names.end()) {
            process.service = place->second;
        }
        if (process.verdict == Verdict::error && process.error) {
            process.remedy = remedy_for(*process.error, process.service.has_value());
        }
    }
}

ProcessReport report_of(const Patch &patch) {
    ProcessReport report;
    report.pid = patch.process.pid;
    report.created = patch.process.created;
    report.image = patch.image;
    report.module = patch.module;
    report.base = patch.base;
    report.state = State::applied;
    report.verdict = Verdict::already_applied;
    report.stop_us = patch.stop_us;
    report.since = patch.since;
    return report;
}

std::vector<Patch> in_force_of(const Journal &journal, const std::string &id, std::span<const std::uint32_t> pids) {
    std::vector<Patch> patches;
    for (const auto &[transaction, patch] : journal.open_patches()) {
        const bool wanted = pids.empty() || std::find(pids.begin(), pids.end(), patch.process.pid) != pids.end();
        if (is_in_force(patch) && patch.payload_id == id && wanted) {
            patches.push_back(patch);
        }
    }
    return patches;
}

} // namespace

// -- one module
// -------------------------------------------------------------------------------------------------------------------------

ProcessReport Engine::Impl::treat(Candidate &candidate, const Payload &payload, Transaction &transaction, bool change) {
    look_at_module(candidate);
    auto inspection = Inspector(journal, images).inspect(candidate, payload);
    auto &report = inspection.report;
    if (report.verdict == Verdict::would_apply) {
        report.remedy = Remedy::apply;
        auto writable = open_process(candidate.process.id, Access::change);
        if (!writable.ok()) {
            report.verdict = Verdict::error;
            report.error = writable.error();
        } else if (change) {
            candidate.process = std::move(writable.value());
            transaction.apply(candidate, payload, inspection);
        }
    }
    if (report.verdict == Verdict::applied || report.verdict == Verdict::already_applied) {
        report.remedy = Remedy::none;
    }
    return inspection.report;
}

Result<Report> Engine::Impl::treat_all(const Payload &payload, std::span<const std::uint32_t> pids, const Limits &limits,
                                       bool change) {
    auto candidates = find_candidates(payload.target, pids);
    if (!candidates.ok()) {
        return candidates.error();
    }
    Report report{payload.id, payload.sequence, payload.file_sha256, false, {}};
    Transaction transaction(journal, limits, guards);
    if (change) {
        release_retired(transaction, limits);
    }
    for (auto &candidate : candidates.value().modules) {
        report.processes.push_back(treat(candidate, payload, transaction, change));
        report.changed = report.changed || report.processes.back().verdict == Verdict::applied;
    }
    auto &closed = candidates.value().closed;
    std::move(closed.begin(), closed.end(), std::back_inserter(report.processes));
    images.clear(); // tens of MiB that nobody needs until the next operation
    add_services(report.processes);
    (void)journal.compact(); // a journal that stays long is no reason to withhold what was done
    return report;
}

std::optional<ProcessReport> Engine::Impl::look_at(const Patch &patch) {
    auto report = report_of(patch);
    const auto process = open_process(patch.process, Access::read);
    if (!process.ok()) {
        if (process.error().code == Code::target_exited) {
            auto closed = patch;
            closed.phase = Phase::closed;
            (void)journal.record(closed);
            return std::nullopt;
        }
        report.state = State::unknown;
        report.error = process.error();
        report.verdict = Verdict::error;
        return report;
    }
    const auto handle = process.value().handle.get();
    switch (read_sites(handle, patch)) {
    case SitesState::patched:
        break;
    case SitesState::unreadable: // the module was unloaded
        retire_gone(patch);
        return std::nullopt;
    case SitesState::original:
        retire_gone(patch);
        report.state = State::not_applied;
        report.error = Error{Code::journal_disagrees,
                             "the code is that of the file again: the module was loaded anew, or someone took the patch out",
                             patch.module, 0};
        break;
    case SitesState::mixed:
    case SitesState::foreign:
        report.state = State::inconsistent;
        report.error = Error{Code::site_changed, "a site of " + patch.payload_id + " was changed", patch.module, 0};
        break;
    }
    report.verdict = report.error ? Verdict::error : report.verdict;
    report.sites = report_sites(patch, false);
    report.mitigations = read_conditions(handle, patch.process.pid).mitigations;
    return report;
}

std::vector<InForce> Engine::Impl::look_at_all() {
    std::vector<Patch> patches;
    for (const auto &[transaction, patch] : journal.open_patches()) {
        if (is_in_force(patch)) {
            patches.push_back(patch);
        }
    }
    std::vector<InForce> all;
    for (const auto &patch : patches) {
        auto found = look_at(patch);
        if (!found) {
            continue;
        }
        auto place = std::find_if(all.begin(), all.end(), [&](const InForce &each) {
            return each.id == patch.payload_id && each.sequence == patch.sequence && each.sha256 == patch.sha256;
        });
        if (place == all.end()) {
            place = all.insert(all.end(), InForce{patch.payload_id, patch.sequence, patch.sha256, {}});
        }
        place->processes.push_back(std::move(*found));
    }
    return all;
}

// A patch that stands in its module no more: its region is given back when nothing uses it. A module that was loaded anew is
// patched in the watch's next round. Someone who takes the patch out again and again is not fought with: after a few times the
// module waits for the watch's rare search of everything.
void Engine::Impl::retire_gone(const Patch &patch) {
    constexpr std::uint32_t most_prompt_returns = 3;
    auto retired = patch;
    retired.phase = Phase::retired;
    (void)journal.conclude(retired);
    auto &known = seen[patch.process];
    if (++known.undone <= most_prompt_returns) {
        known.answered.clear();
    }
}

void Engine::Impl::look_at_module(const Candidate &candidate) {
    std::vector<Patch> patches;
    for (const auto *patch : Inspector(journal, images).patches_in(candidate.process.id, candidate.module.base)) {
        patches.push_back(*patch);
    }
    for (const auto &patch : patches) {
        (void)look_at(patch);
    }
}

// Regions that were still in use when their patch went out of force.
void Engine::Impl::release_retired(Transaction &transaction, const Limits &limits) {
    std::vector<Patch> retired;
    for (const auto &[number, patch] : journal.open_patches()) {
        if (patch.phase == Phase::retired) {
            retired.push_back(patch);
        }
    }
    for (auto &patch : retired) {
        const auto process = open_process(patch.process, Access::change);
        if (!process.ok() && process.error().code == Code::target_exited) {
            (void)transaction.advance(patch, Phase::closed);
        } else if (process.ok() && may_look_again(patch, limits)) {
            (void)transaction.release(process.value(), patch);
        }
    }
    std::erase_if(pauses, [this](const auto &each) { return !journal.open_patches().contains(each.first); });
}

// True, and the next pause begins, when the pause since the last look at the region is over.
bool Engine::Impl::may_look_again(const Patch &retired, const Limits &limits) {
    constexpr std::uint64_t most_growth = 128; // with the usual pause a look every four minutes
    auto &pause = pauses[retired.transaction];
    const auto now = GetTickCount64();
    if (now < pause.until) {
        return false;
    }
    const std::uint64_t first = limits.release_pause_ms;
    pause.length_ms = std::clamp(pause.length_ms * 2, first, first * most_growth);
    pause.until = now + pause.length_ms;
    return true;
}

// -- the interface
// ------------------------------------------------------------------------------------------------------------------------

Engine::Engine(Impl *impl) : impl_(impl) {}
Engine::Engine(Engine &&other) noexcept : impl_(std::exchange(other.impl_, nullptr)) {}
Engine &Engine::operator=(Engine &&other) noexcept {
    std::swap(impl_, other.impl_);
    return *this;
}
Engine::~Engine() {
    delete impl_;
}

Result<Engine> Engine::open(const std::wstring &journal_path) {
    auto journal = Journal::open(journal_path);
    if (!journal.ok()) {
        return journal.error();
    }
    auto guards = GuardPost::open(journal_path + L".stop");
    if (!guards.ok()) {
        return guards.error();
    }
    if (auto status = recover(journal.value(), guards.value()); !status.ok()) {
        return status.error();
    }
    return Engine(new Impl(std::move(journal.value()), std::move(guards.value())));
}

Result<Report> Engine::preflight(const Payload &payload, std::span<const std::uint32_t> pids) {
    return impl_->treat_all(payload, pids, Limits{}, false);
}

Result<Report> Engine::apply(const Payload &payload, std::span<const std::uint32_t> pids, const Limits &limits, bool dry_run) {
    return impl_->treat_all(payload, pids, limits, !dry_run);
}

Result<Report> Engine::revert(const std::string &payload_id, std::span<const std::uint32_t> pids, const Limits &limits,
                              bool dry_run) {
    Report report{payload_id, 0, {}, false, {}};
    Transaction transaction(impl_->journal, limits, impl_->guards);
    for (auto &patch : in_force_of(impl_->journal, payload_id, pids)) {
        report.sequence = patch.sequence;
        report.sha256 = patch.sha256;
        auto found = impl_->look_at(patch);
        if (!found) {
            continue;
        }
        found->remedy = Remedy::none;
        found->stop_us = 0;
        if (found->state == State::not_applied) { // it went without us
            found->verdict = Verdict::already_reverted;
            found->error.reset();
        } else if (!found->error) {
            found->verdict = Verdict::would_revert;
            found->sites = report_sites(patch, true);
            const auto process = open_process(patch.process, Access::change);
            if (!process.ok()) {
                found->verdict = Verdict::error;
                found->error = process.error();
            } else if (!dry_run) {
                transaction.revert(process.value(), patch, *found);
            }
        }
        report.changed = report.changed || found->verdict == Verdict::reverted;
        report.processes.push_back(std::move(*found));
    }
    add_services(report.processes);
    (void)impl_->journal.compact();
    return report;
}

Result<std::vector<InForce>> Engine::in_force() {
    auto all = impl_->look_at_all();
    for (auto &payload : all) {
        add_services(payload.processes);
    }
    return all;
}

} // namespace hotpatch::engine
