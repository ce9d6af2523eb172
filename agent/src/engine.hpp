// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The engine's whole interface: look at processes, apply and revert payloads, recover after a crash, watch.
// It knows nothing of JSON, pipes or services; docs/protocol.md shows how a report becomes a reply.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "payload.hpp"
#include "result.hpp"

namespace hotpatch::engine {

struct Limits {
    std::uint32_t stop_budget_us = 50'000; // one stop of one process
    std::uint32_t wait_budget_ms = 10'000; // all attempts on one busy process together
    // Before a process is stopped again to see whether a region of retired code is still in use; doubles with each look in vain.
    std::uint32_t release_pause_ms = 2'000;
};

enum class State : std::uint8_t { applied, not_applied, inconsistent, unknown };
enum class Verdict : std::uint8_t { applied, reverted, already_applied, already_reverted, would_apply, would_revert, error };
enum class Remedy : std::uint8_t { none, apply, restart_service, restart_process, reboot };

struct Mitigations {
    bool ppl = false, acg = false, cig = false, cfg = false, cet = false;
    std::uint32_t bitness = 64;
};

struct Blocking {
    std::uint32_t thread = 0;
    std::string function;
    std::vector<std::string> stack; // "module+0xrva"
};

struct SiteReport {
    std::string function;
    std::uint32_t rva = 0;
    Bytes before;
    Bytes after;
};

struct ProcessReport {
    std::uint32_t pid = 0;
    std::uint64_t created = 0; // FILETIME; pid and created name a process for good
    std::string image;
    std::optional<std::string> service;
    std::string module;
    std::uint64_t base = 0;
    std::optional<Sha256> file_sha256; // of the module's file, once it was read
    std::optional<bool> code_matches;  // the code in memory is the file's, relocated, but for sites of payloads in force
    State state{};
    Verdict verdict{};
    std::optional<Error> error; // when verdict is error; else what the journal could not take yet
    Remedy remedy{};
    double stop_us = 0;      // the longest stop of this operation; in in_force() that of the apply; 0: nothing was stopped
    std::uint64_t since = 0; // in in_force(): seconds since 1970
    std::uint32_t attempts = 0;
    std::uint32_t threads = 0;
    Mitigations mitigations;
    std::vector<std::string> payloads; // ids in force in this process
    std::optional<Blocking> blocking;
    std::vector<SiteReport> sites; // `after` is empty as long as the place of the new code is not chosen
};

struct Report {
    std::string id;
    std::uint64_t sequence = 0;
    Sha256 sha256{};
    bool changed = false;
    std::vector<ProcessReport> processes;
};

// What the journal and the memory of the targets say is in force, for host_info and the service.
struct InForce {
    std::string id;
    std::uint64_t sequence = 0;
    Sha256 sha256{};
    std::vector<ProcessReport> processes;
};

// The engine starts its own program once more as a guard while it stops a target (engine/guard.hpp). Every program that uses the
// engine calls this first in main() and ends with its value, if there is one.
[[nodiscard]] std::optional<int> run_guard(int argument_count, const wchar_t *const *arguments);

// An engine works on one journal file. Two engines on one journal exclude each other by the caller's host-wide lock.
class Engine {
public:
    // Opens (or creates) the journal, finishes or undoes what a crash left half done. Every path is absolute.
    static Result<Engine> open(const std::wstring &journal_path);

    Engine(Engine &&) noexcept;
    Engine &operator=(Engine &&) noexcept;
    ~Engine();

    [[nodiscard]] Result<Report> preflight(const Payload &payload, std::span<const std::uint32_t> pids);
    [[nodiscard]] Result<Report> apply(const Payload &payload, std::span<const std::uint32_t> pids, const Limits &limits,
                                       bool dry_run);
    [[nodiscard]] Result<Report> revert(const std::string &payload_id, std::span<const std::uint32_t> pids, const Limits &limits,
                                        bool dry_run);
    [[nodiscard]] Result<std::vector<InForce>> in_force();

    // One round of the service's watch: patches new processes and late loads for the payloads that are wanted, re-checks sites of
    // applied ones, and gives every disagreement as an alert (code and words). Costs no more than one process listing when idle.
    [[nodiscard]] Result<std::vector<Error>> watch(std::span<const Payload> wanted, const Limits &limits);

private:
    struct Impl;
    explicit Engine(Impl *impl);
    Impl *impl_;
};

} // namespace hotpatch::engine
