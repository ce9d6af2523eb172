// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine_json.hpp"

#include <array>
#include <cmath>
#include <cstdio>

#include "error_json.hpp"
#include "text.hpp"

namespace hotpatch {

namespace {

using engine::ProcessReport;
using engine::Verdict;

constexpr std::array<std::string_view, 4> state_names{"applied", "not_applied", "inconsistent", "unknown"};
constexpr std::array<std::string_view, 6> verdict_names{"applied",          "reverted",    "already_applied",
                                                        "already_reverted", "would_apply", "would_revert"};
constexpr std::array<std::string_view, 5> remedy_names{"none", "apply", "restart_service", "restart_process", "reboot"};
constexpr std::array<std::string_view, 6> verdict_texts{
    "The payload is in force.",      "The payload is out of force.",       "The payload was in force already.",
    "The payload was not in force.", "The payload would be put in force.", "The payload would be put out of force."};

std::string address(std::uint64_t value) {
    std::array<char, 20> text{};
    std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(value));
    return text.data();
}

// Tenths of a microsecond: the performance counter tells no more.
double microseconds(double value) {
    return std::round(value * 10) / 10;
}

Json hash_or_null(const std::optional<Sha256> &hash) {
    return hash ? Json(to_hex(*hash)) : Json();
}

Json text_or_null(const std::optional<std::string> &text) {
    return text ? Json(*text) : Json();
}

std::string verdict(const ProcessReport &process) {
    if (process.verdict == Verdict::error) {
        return std::string(name_of(process.error ? process.error->code : Code::agent_internal));
    }
    return std::string(verdict_names.at(static_cast<std::size_t>(process.verdict)));
}

std::string message(const ProcessReport &process) {
    if (process.verdict != Verdict::error) {
        const std::string text(verdict_texts.at(static_cast<std::size_t>(process.verdict)));
        return process.error ? text + " But " + process.error->message + "." : text;
    }
    const Error error = process.error.value_or(Error{Code::agent_internal, {}, {}, 0});
    return error.message.empty() ? std::string(row_of(error.code).text) : error.message;
}

Json mitigations_json(const engine::Mitigations &found) {
    return Json::object({{"ppl", found.ppl},
                         {"acg", found.acg},
                         {"cig", found.cig},
                         {"cfg", found.cfg},
                         {"cet", found.cet},
                         {"bitness", found.bitness}});
}

Json blocking_json(const engine::Blocking &blocking) {
    return Json::object({{"thread", blocking.thread}, {"function", blocking.function}, {"stack", blocking.stack}});
}

Json sites_json(const std::vector<engine::SiteReport> &sites) {
    Json list = Json::array();
    for (const auto &site : sites) {
        list.push_back(
            {{"function", site.function}, {"rva", site.rva}, {"before", to_hex(site.before)}, {"after", to_hex(site.after)}});
    }
    return list;
}

Json process_json(const ProcessReport &process) {
    Json result = Json::object({{"pid", process.pid},
                                {"created", process.created},
                                {"image", process.image},
                                {"service", text_or_null(process.service)},
                                {"module", process.module},
                                {"base", address(process.base)},
                                {"file_sha256", hash_or_null(process.file_sha256)},
                                {"code_matches", process.code_matches ? Json(*process.code_matches) : Json()},
                                {"state", name_of(process.state)},
                                {"verdict", verdict(process)},
                                {"message", message(process)},
                                {"remedy", name_of(process.remedy)},
                                {"stop_us", microseconds(process.stop_us)},
                                {"attempts", process.attempts},
                                {"threads", process.threads},
                                {"mitigations", mitigations_json(process.mitigations)},
                                {"payloads", process.payloads},
                                {"blocking", process.blocking ? blocking_json(*process.blocking) : Json()},
                                {"sites", sites_json(process.sites)}});
    return result;
}

// Counted as the summary of docs/protocol.md names them.
std::string_view summary_key(const ProcessReport &process) {
    switch (process.verdict) {
    case Verdict::already_applied:
    case Verdict::already_reverted:
        return "already_applied";
    case Verdict::error:
        break;
    default:
        return "applied";
    }
    switch (row_of(process.error ? process.error->code : Code::agent_internal).outcome) {
    case Outcome::refused:
        return "refused";
    case Outcome::busy:
        return "busy";
    case Outcome::inconsistent:
        return "inconsistent";
    default:
        return "failed";
    }
}

} // namespace

std::string_view name_of(engine::State state) {
    return state_names.at(static_cast<std::size_t>(state));
}

std::string_view name_of(engine::Remedy remedy) {
    return remedy_names.at(static_cast<std::size_t>(remedy));
}

Json report_json(const engine::Report &report) {
    Json summary =
        Json::object({{"applied", 0}, {"already_applied", 0}, {"refused", 0}, {"busy", 0}, {"failed", 0}, {"inconsistent", 0}});
    Json processes = Json::array();
    for (const ProcessReport &process : report.processes) {
        Json &count = summary[std::string(summary_key(process))];
        count = count.get<int>() + 1;
        processes.push_back(process_json(process));
    }
    return Json::object(
        {{"payload", Json::object({{"id", report.id}, {"sequence", report.sequence}, {"sha256", to_hex(report.sha256)}})},
         {"changed", report.changed},
         {"processes", std::move(processes)},
         {"summary", std::move(summary)}});
}

Json in_force_process_json(const ProcessReport &process) {
    return Json::object({{"pid", process.pid},
                         {"image", process.image},
                         {"service", text_or_null(process.service)},
                         {"module", process.module},
                         {"state", name_of(process.state)},
                         {"since", process.since != 0 ? Json(process.since) : Json()},
                         {"stop_us", microseconds(process.stop_us)}});
}

} // namespace hotpatch
