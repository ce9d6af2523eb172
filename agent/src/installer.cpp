// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What an installer job does: verify the package again, let Windows install it, tell how far it is and how it ended.
#include <algorithm>
#include <array>
#include <string_view>

#include "crypto.hpp"
#include "host_facts.hpp"
#include "jobs.hpp"
#include "package.hpp"
#include "platform.hpp"
#include "store.hpp"
#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

// Servicing of a cumulative update takes minutes, on slow disks up to an hour; after four something is wrong.
constexpr std::uint32_t install_limit_ms = 4 * 60 * 60 * 1000;

// Exit codes of wusa and DISM that are not simply failures (HRESULTs of Windows Update and of component based servicing).
constexpr std::uint32_t exit_reboot_required = ERROR_SUCCESS_REBOOT_REQUIRED;
constexpr std::uint32_t exit_reboot_initiated = ERROR_SUCCESS_REBOOT_INITIATED;
constexpr std::uint32_t exit_already_installed = 0x00240006; // WU_S_ALREADY_INSTALLED
constexpr std::array<std::uint32_t, 3> not_applicable{
    0x80240017, 0x800F081E, 0x800F0823}; // WU_E_NOT_APPLICABLE, CBS_E_NOT_APPLICABLE, newer servicing stack needed
constexpr std::array<std::uint32_t, 4> damaged{0x8007000D, 0x80070570, 0x80070002,
                                               0x800F0831}; // invalid data, unreadable, a part missing

// Finds "20.0%" in DISM's progress lines, also when a piece of output ends in the middle of one.
class ProgressReader {
public:
    std::optional<std::uint32_t> feed(std::string_view piece) {
        std::optional<std::uint32_t> percent;
        for (const char c : piece) {
            if (c == '%') {
                percent = value();
                text_.clear();
            } else if ((c >= '0' && c <= '9') || c == '.') {
                text_ += c;
            } else {
                text_.clear();
            }
        }
        return percent;
    }

private:
    [[nodiscard]] std::optional<std::uint32_t> value() const {
        const std::string whole = text_.substr(0, text_.find('.'));
        if (whole.empty() || whole.size() > 3) {
            return std::nullopt;
        }
        return std::min<std::uint32_t>(100, static_cast<std::uint32_t>(std::stoul(whole)));
    }
    std::string text_;
};

// The one job this process carries out, and its file.
class Installation {
public:
    Installation(const Paths &paths, Job job) : paths_(paths), job_(std::move(job)) {}

    Status run() {
        auto status = install();
        DeleteFileW(package_path().c_str());
        job_.state = status ? JobState::succeeded : JobState::failed;
        if (status) {
            job_.percent = 100;
        } else {
            job_.error = status.error();
        }
        const auto saved = save_last_word();
        return saved ? status : saved;
    }

private:
    // Nobody else knows how the installation ended. Windows refuses to replace a file while someone reads it, and a disk may be
    // full for a moment, so this is tried for a minute.
    Status save_last_word() {
        constexpr int attempts = 30;
        constexpr DWORD pause_ms = 2000;
        auto saved = save_job(paths_, job_);
        for (int attempt = 1; !saved && attempt < attempts; ++attempt) {
            Sleep(pause_ms);
            saved = save_job(paths_, job_);
        }
        return saved;
    }

    // The installers of Windows go by the file's extension, which objects of the store do not have.
    [[nodiscard]] std::wstring package_path() const { return paths_.jobs() + L"\\" + to_wide(job_.id + "-" + job_.kb) + L".msu"; }

    void phase(JobPhase next) {
        job_.phase = next;
        job_.percent = std::nullopt;
        (void)note();
    }

    // A progress that cannot be written is no reason to break off an installation.
    bool note() { return static_cast<bool>(save_job(paths_, job_)); }

    Status place_package() {
        const std::wstring object = paths_.object(job_.package);
        if (CreateHardLinkW(package_path().c_str(), object.c_str(), nullptr) != FALSE ||
            CopyFileW(object.c_str(), package_path().c_str(), TRUE) != FALSE) {
            return Unit{};
        }
        const DWORD number = GetLastError();
        return windows_error(code_of_write_error(number), "The package cannot be put in place", to_utf8(package_path()), number);
    }

    Status verify() {
        phase(JobPhase::verify);
        if (auto status = place_package(); !status) {
            return status;
        }
        const auto found = sha256_of_file(package_path());
        if (!found) {
            return found.error();
        }
        if (found.value() != job_.package) {
            return Error{Code::store_damaged, "A file in the store is not what its name says",
                         to_utf8(paths_.object(job_.package)), 0};
        }
        auto status = check_package(package_path());
        if (!status) {
            status.error().where = to_utf8(paths_.object(job_.package));
        }
        return status;
    }

    Status install() {
        if (auto status = verify(); !status) {
            return status;
        }
        // Open for reading and shared for reading only: the package stays what was verified until the installer is done with it.
        const unique_handle guard(
            CreateFileW(package_path().c_str(), GENERIC_READ, FILE_SHARE_READ, nullptr, OPEN_EXISTING, 0, nullptr));
        phase(JobPhase::install);
        const auto command = platform::installer_command(package_path());
        ProgressReader progress;
        const auto code = run_program(command.program, command.arguments, install_limit_ms, [&](std::string_view piece) {
            const auto percent = command.tells_progress ? progress.feed(piece) : std::nullopt;
            if (percent && percent != job_.percent) {
                job_.percent = percent;
                (void)note();
            }
        });
        if (!code) {
            return code.error();
        }
        job_.exit_code = code.value();
        phase(JobPhase::finish);
        return judge(code.value());
    }

    Status judge(std::uint32_t code) {
        const auto is_one_of = [&](const auto &codes) { return std::find(codes.begin(), codes.end(), code) != codes.end(); };
        if (code == ERROR_SUCCESS || code == exit_reboot_required || code == exit_reboot_initiated ||
            code == exit_already_installed) {
            // wusa under /norestart and DISM differ in what they return, servicing's own mark does not.
            job_.reboot_required = code == exit_reboot_required || code == exit_reboot_initiated || reboot_is_pending();
            return Unit{};
        }
        if (is_one_of(not_applicable)) {
            return windows_error(Code::package_not_applicable, "Windows says that " + job_.kb + " does not apply to this host",
                                 {}, code);
        }
        if (is_one_of(damaged)) {
            return windows_error(Code::package_damaged, "Windows cannot read " + job_.kb, {}, code);
        }
        // A small number is the installer's own; only an HRESULT has words in Windows.
        const std::string words = code >= 0x80000000U ? windows_message(code) : std::to_string(code);
        return Error{Code::package_install_failed, "The installer of " + job_.kb + " ended with " + words, {}, code};
    }

    const Paths &paths_;
    Job job_;
};

} // namespace

Status run_job(const Paths &paths, const std::string &id) {
    auto job = load_job(paths, id);
    if (!job) {
        return job.error();
    }
    if (job.value().state != JobState::running || job.value().process.pid != GetCurrentProcessId() ||
        job.value().process.created != own_identity().created) {
        return Error{Code::job_unknown, "The job " + id + " was not prepared for this process", {}, 0};
    }
    return Installation(paths, std::move(job).value()).run();
}

} // namespace hotpatch
