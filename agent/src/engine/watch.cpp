// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// One round of the service's watch.
#include <algorithm>

#include "engine/engine_impl.hpp"
#include "text.hpp"

namespace hotpatch::engine {

namespace {

// A module list's end tells of every load but one: unloaded and loaded again at the same address of the heap. So each process is
// searched anew from time to time.
constexpr std::uint32_t rounds_between_searches = 32;

std::uint64_t tail_of(const ProcessId &id) {
    const auto process = open_process(id, Access::read);
    return process.ok() ? module_list_tail(process.value().handle.get()).value_or(0) : 0;
}

Error late_failure(const ProcessReport &report, const Payload &payload) {
    const std::string place = "process " + std::to_string(report.pid) + ", " + report.module;
    if (report.error->code == Code::journal_disagrees) {
        return {Code::journal_disagrees, report.error->message, place, 0};
    }
    return {Code::late_apply_failed, payload.id + " was not applied: " + std::string(name_of(report.error->code)), place,
            report.error->win32};
}

// Another build of the module is none of the payload's business; a module in which the payload is in force has its own check;
// what has gone needs nothing.
bool is_late_failure(const ProcessReport &report) {
    if (report.verdict != Verdict::error || !report.error || report.state == State::applied) {
        return false;
    }
    switch (report.error->code) {
    case Code::target_module_mismatch:
    case Code::target_exited:
    case Code::target_module_unloaded:
    case Code::site_changed:
        return false;
    default:
        return true;
    }
}

} // namespace

bool Engine::Impl::answer(const ProcessEntry &entry, const Payload &payload, Transaction &transaction,
                          std::vector<Error> &wrong) {
    auto candidates = candidates_in(entry, payload.target);
    if (!candidates.ok()) {
        return true; // it has ended, or it is in the report of what cannot be reached
    }
    bool final = true;
    for (auto &candidate : candidates.value()) {
        const auto report = treat(candidate, payload, transaction, true);
        if (is_late_failure(report)) {
            wrong.push_back(late_failure(report, payload));
            final = final && row_of(report.error->code).outcome == Outcome::refused;
        }
    }
    return final;
}

Result<std::vector<Error>> Engine::watch(std::span<const Payload> wanted, const Limits &limits) {
    std::vector<Error> alerts;
    for (auto payloads = impl_->look_at_all(); auto &payload : payloads) {
        for (auto &process : payload.processes) {
            if (process.error) {
                process.error->where = "process " + std::to_string(process.pid) + ", " + process.module;
                alerts.push_back(std::move(*process.error));
            }
        }
    }
    const auto processes = list_processes();
    if (!processes.ok()) {
        return processes.error();
    }
    Transaction transaction(impl_->journal, limits, impl_->guards);
    impl_->release_retired(transaction, limits);
    const bool search_all = impl_->round++ % rounds_between_searches == 0;
    std::map<ProcessId, Impl::Seen> seen;
    for (const auto &entry : processes.value()) {
        if (wanted.empty() || entry.id.pid == GetCurrentProcessId()) {
            continue;
        }
        auto known = impl_->seen[entry.id];
        const auto tail = tail_of(entry.id);
        if (tail != known.tail || search_all) {
            known = {tail, {}, 0};
        }
        for (const auto &payload : wanted) {
            const auto [place, fresh] = known.answered.try_emplace(payload.id + "/" + std::to_string(payload.sequence));
            const bool final = !fresh || impl_->answer(entry, payload, transaction, place->second);
            alerts.insert(alerts.end(), place->second.begin(), place->second.end());
            if (!final) {
                known.answered.erase(place); // tried again in the next round
            }
        }
        seen[entry.id] = std::move(known);
    }
    impl_->seen = std::move(seen);
    impl_->images.clear();
    if (!transaction.used_guard()) {
        impl_->guards.dismiss();
    }
    if (auto status = impl_->journal.compact(); !status.ok()) {
        alerts.push_back(status.error());
    }
    return alerts;
}

} // namespace hotpatch::engine
