// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "watch.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "event_log.hpp"
#include "events.h"
#include "metrics.hpp"
#include "registry.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

// One listing of processes each round: a new process runs unpatched for at most this long. Administrators can set another value.
constexpr std::uint64_t default_interval_ms = 2000;
constexpr std::uint64_t shortest_interval_ms = 250;
constexpr std::uint64_t longest_interval_ms = 3'600'000;
constexpr const wchar_t *settings_key = L"SYSTEM\\CurrentControlSet\\Services\\hotpatch-agent\\Parameters";
constexpr std::uint64_t metrics_interval_s = 60; // rewritten at least this often, so that a collector can tell a dead service

DWORD interval_ms() {
    const auto configured = registry::read_number(settings_key, L"WatchIntervalMs").value_or(default_interval_ms);
    return static_cast<DWORD>(std::clamp(configured, shortest_interval_ms, longest_interval_ms));
}

std::uint64_t written_at(const std::wstring &path) {
    WIN32_FILE_ATTRIBUTE_DATA data{};
    if (GetFileAttributesExW(path.c_str(), GetFileExInfoStandard, &data) == FALSE) {
        return 0;
    }
    return (static_cast<std::uint64_t>(data.ftLastWriteTime.dwHighDateTime) << 32U) | data.ftLastWriteTime.dwLowDateTime;
}

std::string words(const Error &error) {
    const ErrorRow &row = row_of(error.code);
    std::string text = std::string(row.code) + ": " + (error.message.empty() ? std::string(row.text) : error.message);
    if (!error.where.empty()) {
        text += " [" + error.where + "]";
    }
    return text + " " + std::string(row.remedy);
}

} // namespace

void Watch::run() {
    const std::array<HANDLE, 2> handles{stop_, wake_};
    for (;;) {
        round();
        if (WaitForMultipleObjects(static_cast<DWORD>(handles.size()), handles.data(), FALSE, interval_ms()) == WAIT_OBJECT_0) {
            return;
        }
    }
}

Watch::Stamp Watch::stamp() const {
    const Paths &paths = context_.paths();
    return {written_at(paths.desired()), written_at(paths.trust()), file_exists(paths.journal()) ? 1U : 0U};
}

void Watch::refresh() {
    const Stamp current = stamp();
    if (current == stamp_ && now() <= valid_until_) {
        return;
    }
    stamp_ = current;
    auto wanted = load_wanted(context_.paths());
    wanted_ = wanted ? std::move(wanted).value() : Wanted{{}, {wanted.error()}};
    valid_until_ = std::numeric_limits<std::uint64_t>::max();
    for (const Payload &payload : wanted_.payloads) {
        valid_until_ = std::min(valid_until_, payload.expires);
    }
}

std::vector<Error> Watch::look(Call &call) {
    auto found = call.with_engine<std::vector<Error>>(
        [&](engine::Engine &engine) { return engine.watch(wanted_.payloads, engine::Limits{}); });
    std::vector<Error> current = wanted_.refused;
    if (!found) {
        current.push_back(found.error());
        return current;
    }
    current.insert(current.end(), found.value().begin(), found.value().end());
    return current;
}

void Watch::round() {
    refresh();
    Call call(context_, false);
    if (!call.lock(0)) {
        return; // someone is changing this host; the next round sees the outcome
    }
    const bool idle = wanted_.payloads.empty() && wanted_.refused.empty() && !file_exists(context_.paths().journal());
    tell(idle ? std::vector<Error>() : look(call));
    write_metrics(call);
}

void Watch::tell(const std::vector<Error> &current) {
    const auto difference = context_.alerts.replace(current);
    for (const Error &error : difference.begun) {
        log_event(event_of(error.code), words(error));
    }
    for (const Error &error : difference.ended) {
        log_event(EVENT_ALERT_ENDED, "Over: " + words(error));
    }
}

void Watch::write_metrics(Call &call) {
    MetricsInput input{{}, context_.alerts.list(), wanted_.payloads.size() + wanted_.refused.size(), 0};
    if (file_exists(context_.paths().journal())) {
        auto found = call.with_engine<std::vector<engine::InForce>>([](engine::Engine &engine) { return engine.in_force(); });
        if (found) {
            input.in_force = std::move(found).value();
        }
    }
    const std::string state = metrics_text(input); // without the time, which changes always
    const std::uint64_t time = now();
    if (state == metrics_ && time - metrics_written_ < metrics_interval_s) {
        return;
    }
    input.last_watch = time;
    if (write_file(context_.paths().metrics() + L"\\hotpatch_windows.prom", metrics_text(input))) {
        metrics_ = state;
        metrics_written_ = time;
    }
}

} // namespace hotpatch
