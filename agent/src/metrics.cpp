// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "metrics.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <string_view>

#include "engine_json.hpp"
#include "platform.hpp"
#include "version.hpp"

namespace hotpatch {

namespace {

// Escapes of a label's value in the text format: backslash, quote, line feed.
std::string label(std::string_view name, std::string_view value) {
    std::string text = std::string(name) + "=\"";
    for (const char c : value) {
        if (c == '\\' || c == '"') {
            text += '\\';
        }
        text += c == '\n' ? std::string("\\n") : std::string(1, c);
    }
    return text + "\"";
}

class Metrics {
public:
    void family(std::string_view name, std::string_view help, std::string_view type = "gauge") {
        name_ = "hotpatch_windows_" + std::string(name);
        text_ += "# HELP " + name_ + " " + std::string(help) + "\n# TYPE " + name_ + " " + std::string(type) + "\n";
    }
    void sample(const std::string &labels, const std::string &value) {
        text_ += name_ + (labels.empty() ? "" : "{" + labels + "}") + " " + value + "\n";
    }
    [[nodiscard]] std::string text() const { return text_; }

private:
    std::string name_;
    std::string text_;
};

std::string payload_labels(const engine::InForce &payload) {
    return label("payload", payload.id) + "," + label("sequence", std::to_string(payload.sequence));
}

// A stop lasts microseconds, which six decimals would round away.
std::string seconds(double microseconds) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.9f", microseconds / 1e6);
    return text.data();
}

// By labels: two files of one payload and sequence would otherwise give the same sample twice, which no collector accepts.
void add_processes(Metrics &metrics, const MetricsInput &input) {
    metrics.family("payload_processes", "Processes a payload is in force in, by the state of its sites.");
    std::map<std::string, std::size_t> counts;
    for (const auto &payload : input.in_force) {
        for (const auto &process : payload.processes) {
            ++counts[payload_labels(payload) + "," + label("state", name_of(process.state))];
        }
    }
    for (const auto &[labels, count] : counts) {
        metrics.sample(labels, std::to_string(count));
    }
}

void add_stops(Metrics &metrics, const MetricsInput &input) {
    metrics.family("payload_stop_seconds_max", "Longest stop of a process while the payload was applied.");
    std::map<std::string, double> longest;
    for (const auto &payload : input.in_force) {
        double &stop = longest[payload_labels(payload)];
        for (const auto &process : payload.processes) {
            stop = std::max(stop, process.stop_us);
        }
    }
    for (const auto &[labels, stop] : longest) {
        metrics.sample(labels, seconds(stop));
    }
}

void add_alerts(Metrics &metrics, const MetricsInput &input) {
    metrics.family("alerts", "Alerts that stand, by code.");
    std::map<std::string_view, std::size_t> counts;
    for (const auto &alert : input.alerts) {
        ++counts[name_of(alert.error.code)];
    }
    for (const auto &[code, count] : counts) {
        metrics.sample(label("code", code), std::to_string(count));
    }
}

} // namespace

std::string metrics_text(const MetricsInput &input) {
    Metrics metrics;
    metrics.family("agent_info", "The agent that runs.");
    metrics.sample(label("version", agent_version) + "," + label("build", platform::build), "1");
    metrics.family("payloads_wanted", "Payloads that must be in force on this host.");
    metrics.sample("", std::to_string(input.wanted));
    add_processes(metrics, input);
    add_stops(metrics, input);
    add_alerts(metrics, input);
    metrics.family("watch_rounds_total", "Rounds of the watch since the service started.", "counter");
    metrics.sample("", std::to_string(input.rounds));
    metrics.family("last_watch_timestamp_seconds", "When the service last looked at the processes and wrote this file.");
    metrics.sample("", std::to_string(input.last_watch));
    return metrics.text();
}

} // namespace hotpatch
