// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The engine for the tests, without wire, trust or service: one JSON request a line on standard input, one JSON reply a line on
// standard output. It is built with HOTPATCH_FAULTS. Never part of a release.
//
//   engine-tool JOURNAL
//   {"op": "apply", "payload": {…}, "pids": [], "stop_budget_us": 50000, "wait_budget_ms": 10000, "dry_run": false}
#include <fstream>
#include <iostream>
#include <string>

#include <windows.h>

#include <psapi.h>

#include <nlohmann/json.hpp>

#include "engine.hpp"
#include "engine/faults.hpp"
#include "engine/mitigations.hpp"
#include "holdings.hpp"

using nlohmann::json;
namespace hp = hotpatch;
namespace en = hotpatch::engine;

namespace {

hp::Bytes from_hex(const std::string &text) {
    hp::Bytes bytes;
    for (std::size_t index = 0; index + 1 < text.size(); index += 2) {
        bytes.push_back(static_cast<std::uint8_t>(std::stoul(text.substr(index, 2), nullptr, 16)));
    }
    return bytes;
}

std::string to_hex(const hp::Bytes &bytes) {
    static const char digits[] = "0123456789abcdef";
    std::string text;
    for (const auto byte : bytes) {
        text += {digits[byte >> 4], digits[byte & 15]};
    }
    return text;
}

hp::Sha256 digest_of(const json &value) {
    hp::Sha256 digest{};
    const auto bytes = from_hex(value.get<std::string>());
    std::copy_n(bytes.begin(), digest.size(), digest.begin());
    return digest;
}

hp::Protection protection_of(const std::string &text) {
    return text == "rx" ? hp::Protection::read_execute : (text == "r" ? hp::Protection::read : hp::Protection::read_write);
}

hp::Payload payload_of(const json &value) {
    hp::Payload payload;
    payload.file_sha256 = digest_of(value.at("sha256"));
    payload.id = value.at("id");
    payload.sequence = value.at("sequence");
    payload.replaces = value.at("replaces").get<std::vector<std::string>>();
    payload.quiescence = value.at("quiescence") == "functions" ? hp::Quiescence::functions : hp::Quiescence::entry;
    const auto &target = value.at("target");
    payload.target = {target.at("name"),     digest_of(target.at("sha256")), target.at("size"),
                      target.at("checksum"), target.at("timestamp"),         target.at("image_size")};
    payload.region_size = value.at("region_size");
    for (const auto &each : value.at("sections")) {
        payload.sections.push_back(
            {each.at("offset"), each.at("size"), protection_of(each.at("protection")), from_hex(each.at("data"))});
    }
    for (const auto &each : value.at("fixups")) {
        payload.fixups.push_back({each.at("offset"), each.at("kind") == "rel32" ? hp::FixupKind::rel32 : hp::FixupKind::abs64,
                                  each.at("base") == "target" ? hp::FixupBase::target : hp::FixupBase::region, each.at("value"),
                                  each.at("addend")});
    }
    for (const auto &each : value.at("unwind")) {
        payload.unwind.push_back({each.at("begin"), each.at("end"), each.at("info")});
    }
    for (const auto &each : value.at("functions")) {
        payload.functions.push_back({each.at("name"), each.at("rva"), each.at("length"), from_hex(each.at("expected")),
                                     each.at("entry"),
                                     each.at("redirect") == "short" ? hp::Redirect::short_jump : hp::Redirect::near_jump,
                                     from_hex(each.at("padding")), each.at("overwrite")});
    }
    return payload;
}

std::string name_of(en::State state) {
    constexpr const char *names[] = {"applied", "not_applied", "inconsistent", "unknown"};
    return names[static_cast<int>(state)];
}

std::string name_of(const en::ProcessReport &process) {
    constexpr const char *names[] = {"applied", "reverted", "already_applied", "already_reverted", "would_apply", "would_revert"};
    return process.verdict == en::Verdict::error ? std::string(hp::name_of(process.error->code))
                                                 : names[static_cast<int>(process.verdict)];
}

std::string name_of(en::Remedy remedy) {
    constexpr const char *names[] = {"none", "apply", "restart_service", "restart_process", "reboot"};
    return names[static_cast<int>(remedy)];
}

json json_of(const hp::Error &error) {
    return {{"code", hp::name_of(error.code)}, {"message", error.message}, {"where", error.where}, {"win32", error.win32}};
}

json json_of(const en::ProcessReport &process) {
    json sites = json::array();
    for (const auto &site : process.sites) {
        sites.push_back(
            {{"function", site.function}, {"rva", site.rva}, {"before", to_hex(site.before)}, {"after", to_hex(site.after)}});
    }
    json blocking;
    if (process.blocking) {
        blocking = {
            {"thread", process.blocking->thread}, {"function", process.blocking->function}, {"stack", process.blocking->stack}};
    }
    const auto &flags = process.mitigations;
    return {
        {"pid", process.pid},
        {"image", process.image},
        {"module", process.module},
        {"base", process.base},
        {"file_sha256", process.file_sha256 ? json(to_hex({process.file_sha256->begin(), process.file_sha256->end()})) : json()},
        {"code_matches", process.code_matches ? json(*process.code_matches) : json()},
        {"service", process.service ? json(*process.service) : json()},
        {"state", name_of(process.state)},
        {"verdict", name_of(process)},
        {"error", process.error ? json_of(*process.error) : json()},
        {"remedy", name_of(process.remedy)},
        {"stop_us", process.stop_us},
        {"attempts", process.attempts},
        {"threads", process.threads},
        {"mitigations",
         {{"ppl", flags.ppl},
          {"acg", flags.acg},
          {"cig", flags.cig},
          {"cfg", flags.cfg},
          {"cet", flags.cet},
          {"bitness", flags.bitness}}},
        {"payloads", process.payloads},
        {"blocking", blocking},
        {"sites", sites}};
}

json json_of(const std::vector<en::ProcessReport> &processes) {
    json all = json::array();
    for (const auto &process : processes) {
        all.push_back(json_of(process));
    }
    return all;
}

json json_of(const hp::Result<en::Report> &report) {
    if (!report.ok()) {
        return {{"error", json_of(report.error())}};
    }
    return {{"changed", report.value().changed}, {"processes", json_of(report.value().processes)}};
}

json json_of(const hp::Result<std::vector<en::InForce>> &in_force) {
    json all = json::array();
    for (const auto &each : in_force.value()) {
        all.push_back({{"id", each.id}, {"sequence", each.sequence}, {"processes", json_of(each.processes)}});
    }
    return {{"in_force", all}};
}

json watch(en::Engine &engine, const json &request, const en::Limits &limits) {
    std::vector<hp::Payload> wanted;
    for (const auto &each : request.at("payloads")) {
        wanted.push_back(payload_of(each));
    }
    const auto alerts = engine.watch(wanted, limits);
    json all = json::array();
    if (alerts.ok()) {
        for (const auto &alert : alerts.value()) {
            all.push_back(json_of(alert));
        }
    }
    return {{"alerts", all}};
}

// What the engine itself holds, to show that nothing of it grows.
json usage() {
    PROCESS_MEMORY_COUNTERS_EX memory{};
    GetProcessMemoryInfo(GetCurrentProcess(), reinterpret_cast<PROCESS_MEMORY_COUNTERS *>(&memory), sizeof memory);
    return {{"handles", holdings::count_handles()}, {"threads", holdings::count_threads()}, {"committed", memory.PrivateUsage}};
}

json answer(en::Engine &engine, const json &request) {
    const std::string op = request.at("op");
    const auto pids = request.value("pids", std::vector<std::uint32_t>{});
    const en::Limits limits{request.value("stop_budget_us", 1'000'000U), request.value("wait_budget_ms", 10'000U),
                            request.value("release_pause_ms", 0U)};
    const bool dry_run = request.value("dry_run", false);
    if (op == "preflight") {
        return json_of(engine.preflight(payload_of(request.at("payload")), pids));
    }
    if (op == "apply") {
        return json_of(engine.apply(payload_of(request.at("payload")), pids, limits, dry_run));
    }
    if (op == "revert") {
        return json_of(engine.revert(request.at("id"), pids, limits, dry_run));
    }
    if (op == "in_force") {
        return json_of(engine.in_force());
    }
    if (op == "watch") {
        return watch(engine, request, limits);
    }
    if (op == "usage") {
        return usage();
    }
    return {{"fault_points", en::fault_points_met()}};
}

} // namespace

int wmain(int argc, wchar_t **argv) {
    if (const auto code = en::run_guard(argc, argv)) {
        return *code;
    }
    if (argc != 2) {
        return 2;
    }
    auto engine = en::Engine::open(argv[1]);
    if (!engine.ok()) {
        std::cout << json{{"error", json_of(engine.error())}}.dump() << std::endl;
        return 1;
    }
    for (std::string line; std::getline(std::cin, line) && !line.empty();) {
        std::cout << answer(engine.value(), json::parse(line)).dump() << std::endl;
    }
    return 0;
}
