// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine.hpp"

#include <algorithm>

#include "engine/engine_impl.hpp"
#include "engine/mitigations.hpp"
#include "engine/recovery.hpp"
#include "engine/text.hpp"

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
    Transaction transaction(journal, limits);
    if (change) {
        release_retired(transaction);
    }
    for (auto &candidate : candidates.value()) {
        report.processes.push_back(treat(candidate, payload, transaction, change));
        report.changed = report.changed || report.processes.back().verdict == Verdict::applied;
    }
    images.clear(); // tens of MiB that nobody needs until the next operation
    add_services(report.processes);
    if (auto status = journal.compact(); !status.ok()) {
        return status.error();
    }
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
    case SitesState::unreadable: { // the module was unloaded; its region is given back when nothing uses it
        auto retired = patch;
        retired.phase = Phase::retired;
        (void)journal.record(retired);
        return std::nullopt;
    }
    case SitesState::original:
        report.state = State::not_applied;
        report.error = Error{Code::journal_disagrees, "the module's code is that of its file", patch.module, 0};
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

// Regions that were still in use when their patch went out of force.
void Engine::Impl::release_retired(Transaction &transaction) {
    std::vector<Patch> retired;
    for (const auto &[number, patch] : journal.open_patches()) {
        if (patch.phase == Phase::retired) {
            retired.push_back(patch);
        }
    }
    for (auto &patch : retired) {
        const auto process = open_process(patch.process, Access::change);
        if (process.ok()) {
            (void)transaction.release(process.value(), patch);
        } else if (process.error().code == Code::target_exited) {
            (void)transaction.advance(patch, Phase::closed);
        }
    }
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
    if (auto status = recover(journal.value()); !status.ok()) {
        return status.error();
    }
    return Engine(new Impl(std::move(journal.value())));
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
    Transaction transaction(impl_->journal, limits);
    for (auto &patch : in_force_of(impl_->journal, payload_id, pids)) {
        report.sequence = patch.sequence;
        report.sha256 = patch.sha256;
        auto found = impl_->look_at(patch);
        if (!found) {
            continue;
        }
        found->remedy = Remedy::none;
        found->stop_us = 0;
        if (!found->error) {
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
    if (auto status = impl_->journal.compact(); !status.ok()) {
        return status.error();
    }
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
