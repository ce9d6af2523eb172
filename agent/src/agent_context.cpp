// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "agent_context.hpp"

#include <chrono>

#include "win32.hpp"

namespace hotpatch {

namespace {

// Longer than one operation's default budget of waiting for a busy process.
constexpr std::chrono::seconds engine_wait{15};

std::string key_of(const Error &error) {
    return std::string(name_of(error.code)) + "|" + error.where + "|" + error.message;
}

} // namespace

AlertBoard::Difference AlertBoard::replace(const std::vector<Error> &current) {
    const std::lock_guard guard(mutex_);
    Difference difference;
    std::map<std::string, Alert> next;
    for (const Error &error : current) {
        const std::string key = key_of(error);
        const auto known = alerts_.find(key);
        if (known == alerts_.end() && next.find(key) == next.end()) {
            difference.begun.push_back(error);
        }
        next.try_emplace(key, Alert{error, known == alerts_.end() ? now() : known->second.since});
    }
    for (const auto &[key, alert] : alerts_) {
        if (next.find(key) == next.end()) {
            difference.ended.push_back(alert.error);
        }
    }
    alerts_ = std::move(next);
    return difference;
}

std::vector<AlertBoard::Alert> AlertBoard::list() const {
    const std::lock_guard guard(mutex_);
    std::vector<Alert> alerts;
    for (const auto &[key, alert] : alerts_) {
        alerts.push_back(alert);
    }
    return alerts;
}

void AgentContext::close_engine() {
    const std::lock_guard guard(engine_mutex_);
    engine_.reset();
}

Status Call::lock(unsigned wait_ms) {
    if (lock_) {
        return Unit{};
    }
    if (auto status = secure_folder(paths()); !status) {
        return status;
    }
    auto held = HostLock::acquire(paths(), wait_ms);
    if (!held) {
        return held.error();
    }
    lock_.emplace(std::move(held).value());
    return Unit{};
}

Status Call::open_engine(std::unique_lock<std::timed_mutex> &guard) {
    // Always the host's lock first: two threads that took them in different order would wait for each other.
    if (context_.mode_ == Mode::transient) {
        if (auto status = lock(); !status) {
            return status;
        }
    }
    if (!guard.try_lock_for(engine_wait)) {
        return Error{Code::agent_busy, {}, {}, 0};
    }
    if (context_.engine_) {
        return Unit{};
    }
    guard.unlock();
    if (auto status = lock(); !status) {
        return status;
    }
    if (!guard.try_lock_for(engine_wait)) {
        return Error{Code::agent_busy, {}, {}, 0};
    }
    if (!context_.engine_) {
        auto opened = engine::Engine::open(paths().journal());
        if (!opened) {
            return opened.error();
        }
        context_.engine_.emplace(std::move(opened).value());
    }
    return Unit{};
}

} // namespace hotpatch
