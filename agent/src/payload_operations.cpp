// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "payload_operations.hpp"

#include <algorithm>
#include <set>

#include "engine_json.hpp"
#include "host_facts.hpp"
#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

constexpr std::size_t most_pids = 10'000;
// A stop of a second or a wait of an hour is a mistake, not a wish.
constexpr std::uint64_t longest_stop_us = 1'000'000;
constexpr std::uint64_t longest_wait_ms = 600'000;

struct Verified {
    Payload payload;
    Trust trust;
};

// From the store, through every check.
Result<Verified> verified_payload(const Paths &paths, const Sha256 &hash) {
    auto trust = load_trust(paths);
    if (!trust) {
        return trust.error();
    }
    const auto file = Store(paths).read(hash, largest_payload);
    if (!file) {
        return file.error();
    }
    auto payload = verify_payload(file.value(), trust.value(), now());
    if (!payload) {
        if (payload.error().where.empty()) {
            payload.error().where = to_utf8(paths.object(hash));
        }
        return payload.error();
    }
    return Verified{std::move(payload).value(), std::move(trust).value()};
}

engine::Limits read_limits(Fields &fields) {
    engine::Limits limits;
    limits.stop_budget_us =
        static_cast<std::uint32_t>(fields.optional_number("stop_budget_us", 1, longest_stop_us).value_or(limits.stop_budget_us));
    limits.wait_budget_ms =
        static_cast<std::uint32_t>(fields.optional_number("wait_budget_ms", 0, longest_wait_ms).value_or(limits.wait_budget_ms));
    return limits;
}

bool replaced_by(const Desired &entry, const Payload &payload) {
    return entry.id == payload.id ||
           std::find(payload.replaces.begin(), payload.replaces.end(), entry.id) != payload.replaces.end();
}

// Puts the payload into desired.json in the place of what it replaces. True when the list changed.
Result<bool> want(const Paths &paths, const Payload &payload, bool dry_run) {
    auto desired = load_desired(paths);
    if (!desired) {
        return desired.error();
    }
    auto &list = desired.value();
    const bool known =
        std::any_of(list.begin(), list.end(), [&](const Desired &entry) { return entry.sha256 == payload.file_sha256; });
    const auto replaced = std::erase_if(
        list, [&](const Desired &entry) { return entry.sha256 != payload.file_sha256 && replaced_by(entry, payload); });
    if (known && replaced == 0) {
        return false;
    }
    if (!known) {
        list.push_back({payload.file_sha256, payload.id, payload.sequence, now()});
    }
    if (const auto status = dry_run ? Status(Unit{}) : save_desired(paths, list); !status) {
        return status.error();
    }
    return true;
}

Result<bool> no_longer_want(const Paths &paths, const std::string &id, bool dry_run) {
    auto desired = load_desired(paths);
    if (!desired) {
        return desired.error();
    }
    if (std::erase_if(desired.value(), [&](const Desired &entry) { return entry.id == id; }) == 0) {
        return false;
    }
    if (const auto status = dry_run ? Status(Unit{}) : save_desired(paths, desired.value()); !status) {
        return status.error();
    }
    return true;
}

Result<Json> as_json(Result<engine::Report> report, bool changed_besides) {
    if (!report) {
        return report.error();
    }
    report.value().changed = report.value().changed || changed_besides;
    return report_json(report.value());
}

bool any_would(const engine::Report &report, engine::Verdict verdict) {
    return std::any_of(report.processes.begin(), report.processes.end(),
                       [&](const auto &process) { return process.verdict == verdict; });
}

Json payload_json(const engine::InForce &payload, const Json &file, std::uint64_t since) {
    Json processes = Json::array();
    for (const auto &process : payload.processes) {
        processes.push_back(in_force_process_json(process));
    }
    Json result = Json::object({{"id", payload.id}, {"sequence", payload.sequence}, {"sha256", to_hex(payload.sha256)}});
    result.update(file);
    result["since"] = since != 0 ? Json(since) : Json();
    result["state"] = payload.processes.empty() ? "wanted" : "in_force";
    result["processes"] = std::move(processes);
    return result;
}

// What only the payload's own file says. The file may be gone, or its signer may no longer be trusted; it is shown all the same.
Json file_facts(const Paths &paths, const Sha256 &hash) {
    Json facts = Json::object({{"title", Json()}, {"cves", Json::array()}, {"expires", Json()}});
    const auto file = Store(paths).read(hash, largest_payload);
    const auto message = file ? parse_signed_message(file.value()) : Result<SignedMessage>(file.error());
    const auto payload = message ? decode_payload(message.value().content) : Result<Payload>(message.error());
    if (payload) {
        facts = Json::object(
            {{"title", payload.value().title}, {"cves", payload.value().cves}, {"expires", payload.value().expires}});
    }
    return facts;
}

std::uint64_t oldest(const engine::InForce &payload) {
    std::uint64_t since = 0;
    for (const auto &process : payload.processes) {
        since = since == 0 ? process.since : std::min(since, process.since);
    }
    return since;
}

// A payload that may no longer be applied still says which code is vulnerable.
struct LookedFor {
    std::optional<Payload> payload;
    std::optional<Error> refusal; // why it may not be applied
};

LookedFor payload_to_look_for(const Paths &paths, const Sha256 &hash) {
    auto verified = verified_payload(paths, hash);
    if (verified) {
        return {std::move(verified).value().payload, std::nullopt};
    }
    LookedFor found{std::nullopt, verified.error()};
    const auto file = Store(paths).read(hash, largest_payload);
    const auto message = file ? parse_signed_message(file.value()) : Result<SignedMessage>(file.error());
    auto payload = message ? decode_payload(message.value().content) : Result<Payload>(message.error());
    if (payload) {
        found.payload = std::move(payload).value();
        found.payload->file_sha256 = hash;
    }
    return found;
}

// The sites of the payload were found patched in this module, whatever else is to be said of it.
bool runs_fix(const std::vector<engine::InForce> &in_force, const Sha256 &payload, const engine::ProcessReport &process) {
    return std::any_of(in_force.begin(), in_force.end(), [&](const engine::InForce &each) {
        return each.sha256 == payload &&
               std::any_of(each.processes.begin(), each.processes.end(), [&](const engine::ProcessReport &known) {
                   return known.state == engine::State::applied && known.pid == process.pid && known.created == process.created &&
                          known.base == process.base;
               });
    });
}

// Another build of the module is not the code that the payload is about, and what has gone runs nothing.
bool runs_code(const engine::ProcessReport &process) {
    const auto is = [&](Code code) { return process.error && process.error->code == code; };
    return !is(Code::target_module_mismatch) && !is(Code::target_exited) && !is(Code::target_module_unloaded);
}

// A restart loads the file that lies there; where Windows exchanges it at the next boot only, it would load the old one again.
engine::Remedy cheapest_remedy(const engine::ProcessReport &process) {
    const bool restart = process.remedy == engine::Remedy::restart_service || process.remedy == engine::Remedy::restart_process;
    return restart && is_replaced_at_boot(to_wide(process.module)) ? engine::Remedy::reboot : process.remedy;
}

Json gap_json(const std::string &payload, const engine::ProcessReport &process, const std::optional<Error> &refusal) {
    const auto &reason = process.error ? process.error : refusal;
    return Json::object({{"payload", payload},
                         {"pid", process.pid},
                         {"image", process.image},
                         {"service", process.service ? Json(*process.service) : Json()},
                         {"module", process.module},
                         {"code", reason ? Json(name_of(reason->code)) : Json()},
                         {"remedy", name_of(cheapest_remedy(process))}});
}

Result<std::vector<engine::InForce>> in_force(Call &call) {
    if (!file_exists(call.paths().journal())) {
        return std::vector<engine::InForce>();
    }
    return call.with_engine<std::vector<engine::InForce>>([](engine::Engine &engine) { return engine.in_force(); });
}

} // namespace

Result<Json> preflight_operation(Call &call, const Json &arguments) {
    Fields fields(arguments, "arguments");
    const Sha256 hash = fields.sha256("payload");
    const auto pids = fields.number_list("pids", most_pids);
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    const auto verified = verified_payload(call.paths(), hash);
    if (!verified) {
        return verified.error();
    }
    return as_json(call.with_engine<engine::Report>(
                       [&](engine::Engine &engine) { return engine.preflight(verified.value().payload, pids); }),
                   false);
}

Result<Json> apply_operation(Call &call, const Json &arguments) {
    Fields fields(arguments, "arguments");
    const Sha256 hash = fields.sha256("payload");
    const auto pids = fields.number_list("pids", most_pids);
    const auto limits = read_limits(fields);
    const bool persist = fields.flag("persist", true);
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    const auto verified = verified_payload(call.paths(), hash);
    if (!verified) {
        return verified.error();
    }
    const Payload &payload = verified.value().payload;
    const auto before = load_desired(call.paths());
    if (!before) {
        return before.error();
    }
    // What is wanted is written down first: should it not fit on the disk, no process has been changed yet, and should the agent
    // end in the middle, the service goes on from there.
    bool changed = false;
    if (persist) {
        const auto wanted = want(call.paths(), payload, call.dry_run());
        if (!wanted) {
            return wanted.error();
        }
        changed = wanted.value();
    }
    auto report = call.with_engine<engine::Report>(
        [&](engine::Engine &engine) { return engine.apply(payload, pids, limits, call.dry_run()); });
    if (!report) {
        if (changed && !call.dry_run()) {
            (void)save_desired(call.paths(), before.value()); // refused as a whole: nothing is wanted that was not before
        }
        return report.error();
    }
    changed = changed || any_would(report.value(), engine::Verdict::would_apply);
    const bool accepted = persist || any_would(report.value(), engine::Verdict::applied);
    if (accepted && !call.dry_run()) {
        const auto recorded = accept_sequence(call.paths(), payload.id, payload.sequence);
        if (!recorded) {
            return recorded.error();
        }
    }
    return as_json(std::move(report), changed);
}

Result<Json> revert_operation(Call &call, const Json &arguments) {
    Fields fields(arguments, "arguments");
    const std::string id = fields.text("payload_id", 64);
    const auto pids = fields.number_list("pids", most_pids);
    const auto limits = read_limits(fields);
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    // First no longer wanted, then taken out: the other way round the watch could put it back in between.
    const auto unwanted = no_longer_want(call.paths(), id, call.dry_run());
    if (!unwanted) {
        return unwanted.error();
    }
    auto report =
        call.with_engine<engine::Report>([&](engine::Engine &engine) { return engine.revert(id, pids, limits, call.dry_run()); });
    if (!report) {
        return report.error();
    }
    const auto trust = load_trust(call.paths());
    if (!trust) {
        return trust.error();
    }
    if (!unwanted.value() && report.value().processes.empty() &&
        trust.value().sequences.find(id) == trust.value().sequences.end()) {
        return Error{Code::payload_not_applied, "No payload '" + id + "' is known to this host", "arguments.payload_id", 0};
    }
    const bool changed = unwanted.value() || any_would(report.value(), engine::Verdict::would_revert);
    return as_json(std::move(report), changed);
}

Result<Json> payloads_section(Call &call) {
    auto found = in_force(call);
    const auto desired = load_desired(call.paths());
    if (!found || !desired) {
        return found ? desired.error() : found.error();
    }
    for (const Desired &entry : desired.value()) {
        if (std::none_of(found.value().begin(), found.value().end(),
                         [&](const auto &payload) { return payload.sha256 == entry.sha256; })) {
            found.value().push_back({entry.id, entry.sequence, entry.sha256, {}});
        }
    }
    Json list = Json::array();
    for (const auto &payload : found.value()) {
        const auto entry = std::find_if(desired.value().begin(), desired.value().end(),
                                        [&](const Desired &each) { return each.sha256 == payload.sha256; });
        list.push_back(payload_json(payload, file_facts(call.paths(), payload.sha256),
                                    entry != desired.value().end() ? entry->since : oldest(payload)));
    }
    return list;
}

Result<Json> coverage_section(Call &call) {
    const auto desired = load_desired(call.paths());
    const auto known = in_force(call);
    if (!desired || !known) {
        return desired ? known.error() : desired.error();
    }
    Json gap = Json::array();
    for (const Desired &entry : desired.value()) {
        const auto payload = payload_to_look_for(call.paths(), entry.sha256);
        if (!payload.payload) {
            continue; // the file is gone or damaged: an alert says so, and what it was for cannot be known
        }
        const auto report =
            call.with_engine<engine::Report>([&](engine::Engine &engine) { return engine.preflight(*payload.payload, {}); });
        if (!report) {
            return report.error();
        }
        for (const auto &process : report.value().processes) {
            if (runs_code(process) && !runs_fix(known.value(), entry.sha256, process)) {
                gap.push_back(gap_json(entry.id, process, payload.refusal));
            }
        }
    }
    return gap;
}

Result<Wanted> load_wanted(const Paths &paths) {
    const auto desired = load_desired(paths);
    if (!desired) {
        return desired.error();
    }
    Wanted wanted;
    for (const Desired &entry : desired.value()) {
        auto verified = verified_payload(paths, entry.sha256);
        if (verified) {
            wanted.payloads.push_back(std::move(verified).value().payload);
        } else {
            wanted.refused.push_back(verified.error());
        }
    }
    return wanted;
}

Result<std::vector<Sha256>> objects_in_force(Call &call) {
    const auto desired = load_desired(call.paths());
    const auto found = in_force(call);
    if (!desired || !found) {
        return desired ? found.error() : desired.error();
    }
    std::vector<Sha256> hashes;
    for (const Desired &entry : desired.value()) {
        hashes.push_back(entry.sha256);
    }
    for (const auto &payload : found.value()) {
        hashes.push_back(payload.sha256);
    }
    return hashes;
}

Status leave_nothing_in_force(Call &call, bool revert) {
    if (auto status = call.lock(); !status) {
        return status;
    }
    const auto before = in_force(call);
    if (!before) {
        return before.error();
    }
    for (const auto &payload : before.value()) {
        if (!revert) {
            return Error{Code::store_object_in_use,
                         "The payload '" + payload.id + "' is in force in " + std::to_string(payload.processes.size()) +
                             " processes",
                         {},
                         0};
        }
        const auto report = call.with_engine<engine::Report>(
            [&](engine::Engine &engine) { return engine.revert(payload.id, {}, engine::Limits{}, false); });
        if (!report) {
            return report.error();
        }
        for (const auto &process : report.value().processes) {
            if (process.verdict == engine::Verdict::error) {
                Error error = process.error.value_or(Error{Code::agent_internal, {}, {}, 0});
                error.message = "The payload '" + payload.id + "' cannot be reverted in process " + std::to_string(process.pid) +
                                ": " + error.message;
                return error;
            }
        }
    }
    return Unit{};
}

} // namespace hotpatch
