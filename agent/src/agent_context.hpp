// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What an operation works with: where things are, who carries it out (the service or a process sent for one task), the engine,
// the alerts.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine.hpp"
#include "files.hpp"
#include "host_lock.hpp"
#include "json.hpp"
#include "result.hpp"
#include "store.hpp"

namespace hotpatch {

enum class Mode : std::uint8_t { resident, transient };

// What stands to be told to people until it is over: the watch's findings, payloads that expired or were revoked.
class AlertBoard {
public:
    struct Alert {
        Error error;
        std::uint64_t since = 0; // seconds since 1970 UTC
    };
    struct Difference {
        std::vector<Error> begun;
        std::vector<Error> ended;
    };
    // The whole of what is wrong now; gives what is new and what is over.
    Difference replace(const std::vector<Error> &current);
    [[nodiscard]] std::vector<Alert> list() const;

private:
    mutable std::mutex mutex_;
    std::map<std::string, Alert> alerts_; // by code and words
};

class AgentContext {
public:
    AgentContext(Paths paths, Mode mode) : paths_(std::move(paths)), mode_(mode) {}

    [[nodiscard]] const Paths &paths() const { return paths_; }
    [[nodiscard]] Mode mode() const { return mode_; }
    [[nodiscard]] Store store() const { return Store(paths_); }
    // Lets go of the journal's file.
    void close_engine();
    AlertBoard alerts;
    std::function<void()> wake; // tells the watch that something changed; may be empty

private:
    friend class Call;
    Paths paths_;
    Mode mode_;
    std::timed_mutex engine_mutex_;
    std::optional<engine::Engine> engine_;
};

// One operation while it runs.
class Call {
public:
    Call(AgentContext &context, bool dry_run) : context_(context), dry_run_(dry_run) {}

    [[nodiscard]] AgentContext &context() { return context_; }
    [[nodiscard]] const Paths &paths() const { return context_.paths(); }
    [[nodiscard]] bool dry_run() const { return dry_run_; }

    // The host's lock, held to the end of the call; a second time is no error.
    [[nodiscard]] Status lock(unsigned wait_ms = HostLock::default_wait_ms);

    // Uses the engine, which works for one caller at a time. Opening it may finish what a crash left half done, and a process
    // sent for one task shares the journal with others like it: both need the host's lock, which is taken when it is not held.
    template <typename T> [[nodiscard]] Result<T> with_engine(const std::function<Result<T>(engine::Engine &)> &use) {
        std::unique_lock<std::timed_mutex> guard(context_.engine_mutex_, std::defer_lock);
        if (auto status = open_engine(guard); !status) {
            return status.error();
        }
        return use(*context_.engine_);
    }

private:
    Status open_engine(std::unique_lock<std::timed_mutex> &guard);

    AgentContext &context_;
    bool dry_run_;
    std::optional<HostLock> lock_;
};

} // namespace hotpatch
