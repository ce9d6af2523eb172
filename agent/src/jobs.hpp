// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Installer jobs: an update package is installed by a process of its own, which outlives connection and service and keeps its
// state in a file. The file is written by whoever owns the job at that moment and read by everyone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "child_process.hpp"
#include "files.hpp"
#include "json.hpp"
#include "result.hpp"

namespace hotpatch {

enum class JobState : std::uint8_t { running, succeeded, failed };
enum class JobPhase : std::uint8_t { verify, expand, install, finish };

struct Job {
    std::string id;
    std::string kb;
    Sha256 package{};
    ProcessIdentity process; // who carries it out
    std::string boot;        // the boot it was started in
    JobState state = JobState::running;
    JobPhase phase = JobPhase::verify;
    std::optional<std::uint32_t> percent;
    std::uint64_t started = 0;
    std::uint64_t updated = 0;
    std::optional<std::uint32_t> exit_code;
    bool reboot_required = false;
    std::optional<Error> error;
};

// An id is 32 hexadecimal digits; anything else is job_unknown and never becomes a path.
[[nodiscard]] Result<Job> load_job(const Paths &paths, const std::string &id);
[[nodiscard]] Status save_job(const Paths &paths, const Job &job);
[[nodiscard]] std::vector<Job> list_jobs(const Paths &paths);

// The state as it is told: a running job whose process is gone without a last word is failed with job_interrupted.
[[nodiscard]] Job judged(const Paths &paths, Job job);
[[nodiscard]] Json job_json(const Job &job);

// Starts the installation of a package of the store, or finds the one that runs already or that ended and waits for the reboot.
// `changed` says which.
struct StartedJob {
    std::string id;
    bool changed = false;
};
[[nodiscard]] Result<StartedJob> start_install(const Paths &paths, const Sha256 &package, const std::string &kb, bool dry_run);

// The body of `hotpatch-agent job ID`.
[[nodiscard]] Status run_job(const Paths &paths, const std::string &id);

} // namespace hotpatch
