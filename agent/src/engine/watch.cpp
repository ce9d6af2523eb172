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
    const std::string reason = report.error ? std::string(name_of(report.error->code)) : "";
    return {Code::late_apply_failed, payload.id + " was not applied to process " + std::to_string(report.pid) + ": " + reason,
            report.module, report.error ? report.error->win32 : 0};
}

} // namespace

Result<std::vector<Error>> Engine::watch(std::span<const Payload> wanted, const Limits &limits) {
    std::vector<Error> alerts;
    for (auto payloads = in_force(); auto &payload : payloads.value()) {
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
    Transaction transaction(impl_->journal, limits, impl_->guard);
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
            if (!known.answered.insert(payload.id + "/" + std::to_string(payload.sequence)).second) {
                continue;
            }
            auto candidates = candidates_in(entry, payload.target);
            if (!candidates.ok()) {
                continue; // it has ended, or it is in the report of what cannot be reached
            }
            for (auto &candidate : candidates.value()) {
                const auto report = impl_->treat(candidate, payload, transaction, true);
                if (report.verdict != Verdict::error) {
                    continue;
                }
                alerts.push_back(late_failure(report, payload));
                if (row_of(report.error->code).outcome != Outcome::refused) {
                    known.answered.erase(payload.id + "/" + std::to_string(payload.sequence)); // tried again in the next round
                }
            }
        }
        seen[entry.id] = std::move(known);
    }
    impl_->seen = std::move(seen);
    impl_->images.clear();
    if (!transaction.used_guard()) {
        impl_->guard.reset();
    }
    if (auto status = impl_->journal.compact(); !status.ok()) {
        alerts.push_back(status.error());
    }
    return alerts;
}

} // namespace hotpatch::engine
