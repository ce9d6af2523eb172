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
constexpr std::uint64_t shortest_interval_ms = 10;
constexpr std::uint64_t longest_interval_ms = 3'600'000;
constexpr const wchar_t *settings_key = L"SYSTEM\\CurrentControlSet\\Services\\hotpatch-agent\\Parameters";
// A busy process is tried again in the next round. A longer wait would keep the host's lock from operators, who wait 5 s for it.
constexpr engine::Limits limits{50'000, 500};
constexpr std::uint64_t metrics_interval_s = 60; // rewritten at least this often, so that a collector can tell a dead service

DWORD interval_ms() {
    const auto configured = registry::read_number(settings_key, L"WatchIntervalMs").value_or(default_interval_ms);
    return static_cast<DWORD>(std::clamp(configured, shortest_interval_ms, longest_interval_ms));
}

std::uint64_t wide(DWORD high, DWORD low) {
    return (static_cast<std::uint64_t>(high) << 32U) | low;
}

// Zeros for a file that is not there.
WIN32_FILE_ATTRIBUTE_DATA attributes_of(const std::wstring &path) {
    WIN32_FILE_ATTRIBUTE_DATA data{};
    return GetFileAttributesExW(path.c_str(), GetFileExInfoStandard, &data) != FALSE ? data : WIN32_FILE_ATTRIBUTE_DATA{};
}

std::uint64_t written_at(const std::wstring &path) {
    const auto data = attributes_of(path);
    return wide(data.ftLastWriteTime.dwHighDateTime, data.ftLastWriteTime.dwLowDateTime);
}

std::uint64_t size_of(const std::wstring &path) {
    const auto data = attributes_of(path);
    return wide(data.nFileSizeHigh, data.nFileSizeLow);
}

std::wstring metrics_file(const Paths &paths) {
    return paths.metrics() + L"\\hotpatch_windows.prom";
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
    metrics_written_ = 0;
    auto wanted = load_wanted(context_.paths());
    wanted_ = wanted ? std::move(wanted).value() : Wanted{{}, {wanted.error()}};
    valid_until_ = std::numeric_limits<std::uint64_t>::max();
    for (const Payload &payload : wanted_.payloads) {
        valid_until_ = std::min(valid_until_, payload.expires);
    }
}

std::vector<Error> Watch::look(Call &call) {
    auto found =
        call.with_engine<std::vector<Error>>([&](engine::Engine &engine) { return engine.watch(wanted_.payloads, limits); });
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
    ++rounds_;
    const bool idle = wanted_.payloads.empty() && wanted_.refused.empty() && !file_exists(context_.paths().journal());
    const bool changed = tell(idle ? std::vector<Error>() : look(call));
    write_metrics(call, changed);
}

bool Watch::tell(const std::vector<Error> &current) {
    const auto difference = context_.alerts.replace(current);
    for (const Error &error : difference.begun) {
        log_event(event_of(error.code), words(error));
    }
    for (const Error &error : difference.ended) {
        log_event(EVENT_ALERT_ENDED, "Over: " + words(error));
    }
    return !difference.begun.empty() || !difference.ended.empty();
}

bool Watch::metrics_are_old(std::uint64_t journal_size) const {
    return journal_size != metrics_journal_ || now() - metrics_written_ >= metrics_interval_s ||
           !file_exists(metrics_file(context_.paths()));
}

void Watch::write_metrics(Call &call, bool changed) {
    const std::uint64_t journal_size = size_of(context_.paths().journal());
    if (!changed && !metrics_are_old(journal_size)) {
        return;
    }
    MetricsInput input{{}, context_.alerts.list(), wanted_.payloads.size() + wanted_.refused.size(), rounds_, now()};
    if (file_exists(context_.paths().journal())) {
        auto found = call.with_engine<std::vector<engine::InForce>>([](engine::Engine &engine) { return engine.in_force(); });
        if (!found) {
            return; // numbers that are not known are not written; the time in the file shows that they are old
        }
        input.in_force = std::move(found).value();
    }
    if (write_file(metrics_file(context_.paths()), metrics_text(input))) {
        metrics_written_ = input.last_watch;
        metrics_journal_ = journal_size;
    } else {
        metrics_written_ = 0; // tried again in the next round
    }
}

} // namespace hotpatch
