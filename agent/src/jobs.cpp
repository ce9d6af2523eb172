// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "jobs.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>

#include "boot.hpp"
#include "error_json.hpp"
#include "installation.hpp"
#include "store.hpp"
#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

constexpr std::array<std::string_view, 3> state_names{"running", "succeeded", "failed"};
constexpr std::array<std::string_view, 4> phase_names{"verify", "expand", "install", "finish"};
constexpr std::uint64_t any = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t word = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t largest_job_file = 65'536;
constexpr std::size_t kept_jobs = 50;

std::wstring path_of(const Paths &paths, const std::string &id) {
    return paths.jobs() + L"\\" + to_wide(id) + L".json";
}

bool is_job_id(std::string_view id) {
    return id.size() == 32 &&
           std::all_of(id.begin(), id.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

template <typename T, std::size_t N>
T read_name(Fields &fields, std::string_view key, const std::array<std::string_view, N> &names) {
    const std::string name = fields.text(key);
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
        fields.refuse(key, "is not known");
        return T{};
    }
    return static_cast<T>(found - names.begin());
}

template <typename T> std::optional<std::uint32_t> narrow(std::optional<T> value) {
    return value ? std::optional(static_cast<std::uint32_t>(*value)) : std::nullopt;
}

Result<Job> read_job(const Json &document) {
    Job job;
    Fields fields(document, "", Code::store_damaged);
    job.id = fields.text("id");
    job.kb = fields.text("kb");
    job.package = fields.sha256("package");
    job.process.pid = static_cast<std::uint32_t>(fields.number("pid", 0, word));
    job.process.created = fields.number("created", 0, any);
    job.boot = fields.text("boot");
    job.state = read_name<JobState>(fields, "state", state_names);
    job.phase = read_name<JobPhase>(fields, "phase", phase_names);
    job.percent = narrow(fields.optional_number("percent", 0, 100));
    job.started = fields.number("started", 0, any);
    job.updated = fields.number("updated", 0, any);
    job.exit_code = narrow(fields.optional_number("exit_code", 0, word));
    job.reboot_required = fields.flag("reboot_required", false);
    if (const Json *error = fields.raw("error"); error != nullptr && !error->is_null()) {
        job.error = error_of_json(*error);
    }
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    return job;
}

Json number_or_null(const std::optional<std::uint32_t> &number) {
    return number ? Json(*number) : Json();
}

Json file_json(const Job &job) {
    return Json::object({{"id", job.id},
                         {"kb", job.kb},
                         {"package", to_hex(job.package)},
                         {"pid", job.process.pid},
                         {"created", job.process.created},
                         {"boot", job.boot},
                         {"state", state_names.at(static_cast<std::size_t>(job.state))},
                         {"phase", phase_names.at(static_cast<std::size_t>(job.phase))},
                         {"percent", number_or_null(job.percent)},
                         {"started", job.started},
                         {"updated", job.updated},
                         {"exit_code", number_or_null(job.exit_code)},
                         {"reboot_required", job.reboot_required},
                         {"error", job.error ? error_json(*job.error) : Json()}});
}

// Running, or done in this boot and waiting for the next.
bool is_current(const Job &job, const std::string &boot) {
    return job.state == JobState::running || (job.state == JobState::succeeded && job.reboot_required && job.boot == boot);
}

// The oldest finished jobs beyond a number that keeps a year of patching.
void forget_old_jobs(const Paths &paths, std::vector<Job> jobs) {
    std::sort(jobs.begin(), jobs.end(), [](const Job &left, const Job &right) { return left.started > right.started; });
    for (std::size_t index = kept_jobs; index < jobs.size(); ++index) {
        if (jobs[index].state != JobState::running) {
            DeleteFileW(path_of(paths, jobs[index].id).c_str());
        }
    }
}

} // namespace

Result<Job> load_job(const Paths &paths, const std::string &id) {
    if (!is_job_id(id)) {
        return Error{Code::job_unknown, "'" + id + "' is not the id of a job", {}, 0};
    }
    const std::wstring path = path_of(paths, id);
    const auto content = read_file(path, largest_job_file);
    if (!content) {
        return content.error();
    }
    if (!content.value()) {
        return Error{Code::job_unknown, "The agent knows no job " + id, {}, 0};
    }
    const Bytes &bytes = *content.value();
    const auto document = parse_json({reinterpret_cast<const char *>(bytes.data()), bytes.size()});
    auto job = document ? read_job(document.value()) : Result<Job>(document.error());
    if (!job) {
        return Error{Code::store_damaged, "The file of a job is damaged; remove it: " + job.error().message, to_utf8(path), 0};
    }
    return job;
}

Status save_job(const Paths &paths, const Job &job) {
    Job saved = job;
    saved.updated = now();
    return write_file(path_of(paths, job.id), dump_json(file_json(saved)));
}

std::vector<Job> list_jobs(const Paths &paths) {
    constexpr std::wstring_view suffix = L".json";
    std::vector<Job> jobs;
    for (const Entry &entry : list_folder(paths.jobs())) {
        if (!entry.name.ends_with(suffix)) {
            continue;
        }
        if (auto job = load_job(paths, to_utf8(entry.name.substr(0, entry.name.size() - suffix.size())))) {
            jobs.push_back(judged(paths, std::move(job).value()));
        }
    }
    return jobs;
}

Job judged(const Paths &paths, Job job) {
    if (job.state != JobState::running || is_running(job.process)) {
        return job;
    }
    // A job writes its last word before it ends, so what was read while it still ran may be older than that.
    if (auto last = load_job(paths, job.id)) {
        job = std::move(last).value();
    }
    if (job.state == JobState::running) {
        job.state = JobState::failed;
        job.error = Error{Code::job_interrupted,
                          "The installer job " + job.id + " ended in the phase '" +
                              std::string(phase_names.at(static_cast<std::size_t>(job.phase))) + "' without saying how",
                          {},
                          0};
    }
    return job;
}

Json job_json(const Job &job) {
    return Json::object({{"job", job.id},
                         {"kind", "package_install"},
                         {"kb", job.kb},
                         {"sha256", to_hex(job.package)},
                         {"state", state_names.at(static_cast<std::size_t>(job.state))},
                         {"phase", phase_names.at(static_cast<std::size_t>(job.phase))},
                         {"percent", number_or_null(job.percent)},
                         {"started", job.started},
                         {"updated", job.updated},
                         {"exit_code", number_or_null(job.exit_code)},
                         {"reboot_required", job.reboot_required},
                         {"error", job.error ? error_json(*job.error) : Json()}});
}

Result<StartedJob> start_install(const Paths &paths, const Sha256 &package, const std::string &kb, bool dry_run) {
    if (!Store(paths).size_of(package)) {
        return Error{Code::store_object_missing, "The host's store does not hold " + to_hex(package),
                     to_utf8(paths.object(package)), 0};
    }
    auto jobs = list_jobs(paths);
    const auto boot = current_boot();
    if (!boot) {
        return boot.error();
    }
    const auto same = std::find_if(jobs.begin(), jobs.end(),
                                   [&](const Job &job) { return job.package == package && is_current(job, boot.value().id); });
    if (same != jobs.end()) {
        return StartedJob{same->id, false};
    }
    const auto active = std::find_if(jobs.begin(), jobs.end(), [](const Job &job) { return job.state == JobState::running; });
    if (active != jobs.end()) {
        return Error{Code::agent_busy, "Another package, " + active->kb + ", is being installed by job " + active->id, {}, 0};
    }
    if (dry_run) {
        return StartedJob{{}, true};
    }
    forget_old_jobs(paths, std::move(jobs));
    // The job runs from the agent's folder: a program that was sent for one task is removed when the task ends.
    const auto program = place_agent(paths);
    if (!program) {
        return program.error();
    }
    auto id = random_uuid();
    if (!id) {
        return id.error();
    }
    Job job;
    job.id = std::move(id).value();
    std::erase(job.id, '-');
    job.kb = kb;
    job.package = package;
    job.started = now();
    job.boot = boot.value().id;
    const auto status = start_detached(program.value(), L"job " + to_wide(job.id), [&](const ProcessIdentity &process) {
        job.process = process;
        return save_job(paths, job);
    });
    if (!status) {
        DeleteFileW(path_of(paths, job.id).c_str());
        return status.error();
    }
    return StartedJob{job.id, true};
}

} // namespace hotpatch
