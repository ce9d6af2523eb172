// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/transaction.hpp"

#include <algorithm>

#include <bcrypt.h>

#include "engine/faults.hpp"
#include "engine/nt.hpp"
#include "engine/quiescence.hpp"
#include "engine/region.hpp"
#include "engine/unwind.hpp"
#include "engine/usage.hpp"
#include "text.hpp"

namespace hotpatch::engine {

namespace {

constexpr DWORD first_pause_ms = 1;
constexpr DWORD longest_pause_ms =
    250; // a quarter of a second in which a thread of a server leaves any function it does not wait in
constexpr std::uint32_t most_overruns = 5; // each costs the target a whole stop budget
// What makes a stop long, another program or the host of a virtual machine, is not over in a millisecond; and a target that is
// stopped again and again must run most of the time.
constexpr DWORD overrun_pause_ms = 250;

std::string where(const Process &process) {
    return "process " + std::to_string(process.id.pid);
}

// A CALL in the overwritten bytes would leave a return address between them. Without a decoder every byte that could begin one
// counts.
bool may_call(std::span<const std::uint8_t> bytes) {
    return std::any_of(bytes.begin(), bytes.end(),
                       [](std::uint8_t byte) { return byte == 0xE8 || byte == 0xFF || byte == 0x9A; });
}

Patch new_patch(const Candidate &candidate, const Payload &payload, std::uint64_t transaction) {
    Patch patch;
    patch.transaction = transaction;
    patch.process = candidate.process.id;
    patch.image = to_utf8(candidate.process.image);
    patch.module = to_utf8(candidate.module.path);
    patch.base = candidate.module.base;
    patch.image_size = payload.target.image_size;
    patch.payload_id = payload.id;
    patch.sequence = payload.sequence;
    patch.sha256 = payload.file_sha256;
    patch.quiescence = payload.quiescence;
    for (const auto &function : payload.functions) {
        patch.functions.push_back({function.name, function.rva, function.length, function.entry, function.overwrite,
                                   may_call(std::span(function.expected).first(function.overwrite))});
    }
    patch.region_size = payload.region_size;
    patch.allocation_size = allocation_size_of(payload);
    patch.unwind_entries = static_cast<std::uint32_t>(payload.unwind.size());
    for (const auto &section : payload.sections) {
        if (section.protection == Protection::read_execute) {
            patch.code.push_back({section.offset, std::uint64_t{section.offset} + section.size});
        }
    }
    return patch;
}

std::optional<Nonce> new_nonce() {
    Nonce nonce{};
    if (BCryptGenRandom(nullptr, nonce.data(), static_cast<ULONG>(nonce.size()), BCRYPT_USE_SYSTEM_PREFERRED_RNG) < 0) {
        return std::nullopt;
    }
    return nonce;
}

bool write_kind(const Process &process, const Patch &patch, SiteKind kind) {
    return std::all_of(patch.sites.begin(), patch.sites.end(), [&](const Site &site) {
        fault_point("exchange");
        return site.kind != kind || write_memory(process.handle.get(), site.address, std::span(site.patched).first(site.length));
    });
}

// The verdict is true, and the journal's trouble stands beside it: what is done is done, also when it cannot be written down yet.
void tell_late(const Status &recorded, ProcessReport &report) {
    if (!recorded.ok()) {
        report.error = recorded.error();
        report.error->message += "; what was done stands, and is written down as soon as that is possible";
    }
}

Error error_of(StopResult result, const Process &process) {
    switch (result) {
    case StopResult::busy:
        return {Code::target_busy, "", where(process), 0};
    case StopResult::over_budget:
        return {Code::target_stop_budget, "", where(process), 0};
    case StopResult::mismatch:
        return {Code::target_code_modified, "the bytes at a site changed since they were inspected", where(process), 0};
    case StopResult::exited:
        return {Code::target_exited, "", where(process), 0};
    case StopResult::inconsistent:
        return {Code::target_inconsistent, "", where(process), 0};
    case StopResult::changed:
    case StopResult::write_failed:
        break;
    }
    return {Code::target_write_failed, "", where(process), 0};
}

} // namespace

std::uint64_t unix_time() {
    FILETIME now{};
    GetSystemTimeAsFileTime(&now);
    constexpr std::uint64_t seconds_from_1601_to_1970 = 11'644'473'600;
    return ((std::uint64_t{now.dwHighDateTime} << 32) | now.dwLowDateTime) / 10'000'000 - seconds_from_1601_to_1970;
}

Result<Guard *> Transaction::guard() {
    used_guard_ = true;
    return guards_->guard();
}

Status Transaction::advance(Patch &patch, Phase phase) {
    patch.phase = phase;
    patch.since = unix_time();
    return journal_->record(patch);
}

Status Transaction::conclude(Patch &patch, Phase phase) {
    patch.phase = phase;
    patch.stopped = false;
    patch.since = unix_time();
    return journal_->conclude(patch);
}

// -- prepare: everything that can be done while the target runs
// ---------------------------------------------------------------------

std::optional<Error> Transaction::prepare(const Process &process, Patch &patch, const Payload &payload, bool cfg) {
    const auto handle = process.handle.get();
    const auto place = find_near(handle, {patch.base, patch.base + patch.image_size}, patch.allocation_size);
    if (!place.ok()) {
        return place.error();
    }
    patch.region = place.value();
    patch.sites = sites_of(payload, patch.base, patch.region);
    if (auto status = advance(patch, Phase::preparing); !status.ok()) {
        return status.error();
    }
    if (auto status = allocate_region(handle, patch); !status.ok()) {
        return status.error();
    }
    fault_point("allocated");
    if (auto status = advance(patch, Phase::allocated); !status.ok()) {
        return status.error();
    }
    if (auto status = fill_region(handle, patch, payload, cfg); !status.ok()) {
        return status.error();
    }
    if (auto status = advance(patch, Phase::registering); !status.ok()) {
        return status.error();
    }
    if (auto status = register_unwind(process, patch); !status.ok()) {
        return status.error();
    }
    fault_point("registered");
    auto status = advance(patch, Phase::prepared);
    return status.ok() ? std::nullopt : std::optional(status.error());
}

Result<bool> exchange(const Process &process, const Patch &patch) {
    // Mixed: an engine died half way through this, and this one finishes.
    if (const auto state = read_sites(process.handle.get(), patch); state != SitesState::original && state != SitesState::mixed) {
        return error_of(StopResult::mismatch, process);
    }
    if (!write_kind(process, patch, SiteKind::padding)) {
        // Nobody jumps to a padding yet, so what was written of it can be left to the undoing below or to the stop.
        return read_sites(process.handle.get(), patch) == SitesState::original ? Result<bool>(false)
                                                                               : error_of(StopResult::write_failed, process);
    }
    FlushInstructionCache(process.handle.get(), nullptr, 0);
    if (!write_kind(process, patch, SiteKind::entry) || read_sites(process.handle.get(), patch) != SitesState::patched) {
        return error_of(process.exited() ? StopResult::exited : StopResult::inconsistent, process);
    }
    FlushInstructionCache(process.handle.get(), nullptr, 0);
    return true;
}

// -- the stop, tried again while the target is busy
// -----------------------------------------------------------------------------------

Transaction::Outcome Transaction::stop_and_change(const Process &process, Patch &patch, const std::vector<Change> &changes,
                                                  StopRules rules, const std::vector<NamedRange> &names, ProcessReport &report) {
    const auto guarding = guard();
    if (!guarding.ok()) {
        return {guarding.error(), std::nullopt, false};
    }
    rules.budget_us = limits_.stop_budget_us;
    patch.stopped = true;
    if (auto status = advance(patch, patch.phase); !status.ok()) {
        return {status.error(), std::nullopt, false};
    }
    const auto deadline = nt::ticks();
    std::uint32_t overruns = 0;
    for (DWORD pause = first_pause_ms;; pause = std::min(pause * 2, longest_pause_ms)) {
        auto stop = Stop::prepare(process, *guarding.value(), changes, rules);
        if (!stop.ok()) {
            return {process.exited() ? error_of(StopResult::exited, process) : stop.error(), std::nullopt, false};
        }
        fault_point("before stop");
        const auto done = stop.value().run();
        fault_point("after stop");
        report.attempts += 1;
        report.threads = done.threads;
        report.stop_us = std::max(report.stop_us, done.stop_us);
        patch.stop_us = report.stop_us;
        if (done.result == StopResult::changed) { // or killed after the last byte: then nothing is in force
            const auto ended = process.exited() ? std::optional(error_of(StopResult::exited, process)) : std::nullopt;
            return {ended, std::nullopt, done.unused};
        }
        if (done.result == StopResult::over_budget) {
            overruns += 1;
            pause = std::max(pause, overrun_pause_ms);
        }
        const bool again =
            done.result == StopResult::busy || (done.result == StopResult::over_budget && overruns < most_overruns);
        if (!again || nt::microseconds(nt::ticks() - deadline) / 1000 + pause > limits_.wait_budget_ms) {
            Outcome outcome{error_of(process.exited() ? StopResult::exited : done.result, process), std::nullopt, false};
            if (done.result == StopResult::busy) {
                outcome.blocking = name_obstacle(process, done.obstacle, names);
                outcome.error->message =
                    "thread " + std::to_string(done.obstacle.thread) + " stays in " + outcome.blocking->function;
            }
            return outcome;
        }
        Sleep(pause);
    }
}

Transaction::Outcome Transaction::commit(const Process &process, Patch &patch, const std::vector<const Patch *> &leaving,
                                         bool cfg, ProcessReport &report) {
    for (const auto *old : leaving) {
        patch.replaces.push_back(old->transaction);
    }
    patch.phase = Phase::committing;
    if (needs_no_stop(leaving, patch)) {
        if (auto status = advance(patch, Phase::committing); !status.ok()) {
            return {status.error(), std::nullopt, false};
        }
        const auto exchanged = exchange(process, patch);
        if (!exchanged.ok() || exchanged.value()) {
            report.attempts = 1;
            return {exchanged.ok() ? std::nullopt : std::optional(exchanged.error()), std::nullopt, false};
        }
    }
    auto rules = rules_for(leaving, &patch);
    rules.keep_call_targets = cfg && nt::calls().set_valid_call_targets != nullptr;
    return stop_and_change(process, patch, changes_between(leaving, &patch), std::move(rules), names_for(leaving, &patch),
                           report);
}

void Transaction::apply(const Candidate &candidate, const Payload &payload, Inspection &inspection) {
    auto &report = inspection.report;
    const auto &process = candidate.process;
    auto patch = new_patch(candidate, payload, journal_->next_transaction());
    const auto nonce = new_nonce();
    const auto fail = [&](Error error) {
        report.verdict = Verdict::error;
        report.state = error.code == Code::target_inconsistent ? State::inconsistent : State::not_applied;
        report.error = std::move(error);
    };
    if (!nonce) {
        return fail({Code::agent_internal, "no random numbers", "", 0});
    }
    patch.nonce = *nonce;
    if (auto error = prepare(process, patch, payload, inspection.cfg)) {
        (void)undo(process, patch);
        return fail(process.exited() ? error_of(StopResult::exited, process) : *error);
    }
    std::vector<Patch> leaving;
    std::vector<const Patch *> leaving_pointers;
    for (const auto transaction : inspection.leaving) {
        leaving.push_back(journal_->open_patches().at(transaction));
    }
    for (const auto &old : leaving) {
        leaving_pointers.push_back(&old);
    }
    auto outcome = commit(process, patch, leaving_pointers, inspection.cfg, report);
    report.blocking = std::move(outcome.blocking);
    if (outcome.error) {
        if (outcome.error->code != Code::target_inconsistent) {
            (void)undo(process, patch);
        }
        return fail(*outcome.error);
    }
    tell_late(conclude(patch, Phase::applied), report);
    for (const auto &old : leaving) {
        retire(process, old, outcome.unused, report);
    }
    report.state = State::applied;
    report.verdict = Verdict::applied;
    report.sites = report_sites(patch, false);
    report.payloads.push_back(patch.payload_id);
    for (const auto &old : leaving) {
        std::erase(report.payloads, old.payload_id == patch.payload_id ? std::string() : old.payload_id);
    }
}

std::optional<Error> Transaction::complete(const Process &process, Patch &patch, const std::vector<Change> &changes) {
    StopRules rules;
    for (const auto &change : changes) { // at its first byte a thread meets either side whole
        rules.code.push_back({change.address + 1, change.address + change.length});
    }
    ProcessReport report;
    return stop_and_change(process, patch, changes, std::move(rules), names_for({}, &patch), report).error;
}

// -- the way back
// ---------------------------------------------------------------------------------------------------------------------

void Transaction::revert(const Process &process, Patch patch, ProcessReport &report) {
    const auto fail = [&](Error error) {
        report.verdict = Verdict::error;
        report.error = std::move(error);
    };
    const auto state = read_sites(process.handle.get(), patch);
    if (state != SitesState::patched) {
        report.state = State::inconsistent;
        return fail({process.exited() ? Code::target_exited
                                      : (state == SitesState::unreadable ? Code::target_module_unloaded : Code::site_changed),
                     "", patch.module, 0});
    }
    const Patch *const leaving[] = {&patch};
    patch.phase = Phase::reverting;
    const auto changes = changes_between(leaving, nullptr);
    auto rules = rules_for(leaving, nullptr);
    rules.keep_call_targets = report.mitigations.cfg && nt::calls().set_valid_call_targets != nullptr;
    auto outcome = stop_and_change(process, patch, changes, std::move(rules), names_for(leaving, nullptr), report);
    report.blocking = std::move(outcome.blocking);
    if (outcome.error) {
        if (outcome.error->code != Code::target_inconsistent) {
            (void)conclude(patch, Phase::applied); // still in force
        } else {
            report.state = State::inconsistent;
        }
        return fail(*outcome.error);
    }
    report.sites = report_sites(patch, true);
    report.state = State::not_applied;
    report.verdict = Verdict::reverted;
    retire(process, patch, outcome.unused, report);
}

void Transaction::retire(const Process &process, Patch patch, bool unused, ProcessReport &report) {
    const auto recorded = conclude(patch, Phase::retired);
    tell_late(recorded, report);
    if (recorded.ok() && unused && !points_into(process.handle.get(), patch)) {
        (void)free(process, std::move(patch));
    }
}

Result<bool> Transaction::release(const Process &process, Patch patch) {
    if (read_sites(process.handle.get(), patch) == SitesState::patched) {
        return Error{Code::journal_disagrees, "a patch that was taken out of force stands in the code", patch.module, 0};
    }
    const auto guarding = guard();
    if (!guarding.ok()) {
        return guarding.error();
    }
    StopRules rules;
    rules.unused.push_back(patch.region_range());
    rules.budget_us = limits_.stop_budget_us;
    auto stop = Stop::prepare(process, *guarding.value(), {}, rules);
    if (!stop.ok()) {
        return stop.error();
    }
    const auto done = stop.value().run();
    if (done.result != StopResult::changed || !done.unused || points_into(process.handle.get(), patch)) {
        return false;
    }
    auto freed = free(process, std::move(patch));
    return freed.ok() ? Result<bool>(true) : freed.error();
}

Status Transaction::undo(const Process &process, Patch patch) {
    if (patch.phase == Phase::preparing && !owns_region(process.handle.get(), patch)) {
        return conclude(patch, Phase::closed);
    }
    return free(process, std::move(patch));
}

Status Transaction::free(const Process &process, Patch patch) {
    const bool may_be_registered = patch.phase != Phase::preparing && patch.phase != Phase::allocated;
    // Not having to wait for the journal: from every phase before it the next start does the same, and what is gone is gone.
    (void)conclude(patch, Phase::releasing);
    if (may_be_registered && !process.exited()) {
        if (auto status = unregister_unwind(process, patch); !status.ok() && status.error().code == Code::target_busy) {
            (void)conclude(patch, Phase::retired);
            return status;
        }
    }
    fault_point("unregistered");
    if (!process.exited() && !free_region(process.handle.get(), patch)) {
        return Error{Code::target_write_failed, "the new code's memory could not be freed", where(process), GetLastError()};
    }
    fault_point("freed");
    return conclude(patch, Phase::closed);
}

} // namespace hotpatch::engine
