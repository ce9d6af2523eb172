// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What an installer job does: verify the package again, let Windows install it, tell how far it is and how it ended.
#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "crypto.hpp"
#include "host_facts.hpp"
#include "jobs.hpp"
#include "platform.hpp"
#include "store.hpp"
#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

// Servicing of a cumulative update takes minutes, on slow disks up to an hour; after four something is wrong.
constexpr std::uint32_t install_limit_ms = 4 * 60 * 60 * 1000;

constexpr std::uint32_t cabinet_signature = 0x4643534D; // "MSCF"
constexpr std::array<std::uint8_t, 8> wim_signature{'M', 'S', 'W', 'I', 'M', 0, 0, 0};

// [MS-CAB] 2.1: the start of CFHEADER.
constexpr std::size_t header_size = 36;
constexpr std::size_t cabinet_size_at = 8;
constexpr std::size_t first_file_at = 16;
constexpr std::size_t file_count_at = 28;
constexpr std::size_t file_entry_size = 16; // CFFILE without its name

// Exit codes of wusa and DISM that are not simply failures (HRESULTs of Windows Update and of component based servicing).
constexpr std::uint32_t exit_reboot_required = ERROR_SUCCESS_REBOOT_REQUIRED;
constexpr std::uint32_t exit_reboot_initiated = ERROR_SUCCESS_REBOOT_INITIATED;
constexpr std::uint32_t exit_already_installed = 0x00240006; // WU_S_ALREADY_INSTALLED
constexpr std::array<std::uint32_t, 3> not_applicable{
    0x80240017, 0x800F081E, 0x800F0823}; // WU_E_NOT_APPLICABLE, CBS_E_NOT_APPLICABLE, newer servicing stack needed
constexpr std::array<std::uint32_t, 4> damaged{0x8007000D, 0x80070570, 0x80070002,
                                               0x800F0831}; // invalid data, unreadable, a part missing

std::uint64_t little_endian(std::span<const std::uint8_t> bytes, std::size_t at, std::size_t width) {
    std::uint64_t value = 0;
    for (std::size_t byte = width; byte-- > 0;) {
        value = (value << 8U) | bytes[at + byte];
    }
    return value;
}

Error damaged_package(const std::wstring &path, std::string why) {
    return Error{Code::package_damaged, "The package is damaged: " + std::move(why), to_utf8(path), 0};
}

// The part of the file that names its members lies in front of the data; 1 MiB is far more than a package's few names need.
Result<Bytes> read_start(HANDLE file, const std::wstring &path) {
    Bytes start(std::size_t{1} << 20U);
    DWORD have = 0;
    if (ReadFile(file, start.data(), static_cast<DWORD>(start.size()), &have, nullptr) == FALSE) {
        return last_error(Code::agent_internal, "The package cannot be read", to_utf8(path));
    }
    start.resize(have);
    return start;
}

bool is_cabinet_name(std::string_view name) {
    std::string lower(name);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return lower.ends_with(".cab") || lower.ends_with(".wim") || lower.ends_with(".psf");
}

Status check_cabinet(std::span<const std::uint8_t> start, std::uint64_t file_size, const std::wstring &path) {
    if (start.size() < header_size ||
        little_endian(start, cabinet_size_at, 4) > file_size) { // a signature may follow the cabinet
        return damaged_package(path, "it is shorter than its header says");
    }
    std::size_t at = static_cast<std::size_t>(little_endian(start, first_file_at, 4));
    for (std::uint64_t left = little_endian(start, file_count_at, 2); left > 0; --left) {
        if (at > start.size() || start.size() - at <= file_entry_size) {
            return damaged_package(path, "its directory is cut off");
        }
        const auto name = start.subspan(at + file_entry_size);
        const auto end = std::find(name.begin(), name.end(), std::uint8_t{0});
        if (end == name.end()) {
            return damaged_package(path, "its directory is cut off");
        }
        if (is_cabinet_name({reinterpret_cast<const char *>(name.data()), static_cast<std::size_t>(end - name.begin())})) {
            return Unit{};
        }
        at += file_entry_size + static_cast<std::size_t>(end - name.begin()) + 1;
    }
    return damaged_package(path, "it holds no update");
}

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
        if (const auto saved = save_job(paths_, job_); !saved) {
            return saved;
        }
        return status;
    }

private:
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
        return check_package(package_path());
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
        return windows_error(Code::package_install_failed,
                             "The installer of " + job_.kb + " ended with exit code " + std::to_string(code), {}, code);
    }

    const Paths &paths_;
    Job job_;
};

} // namespace

Status check_package(const std::wstring &path) {
    const unique_handle file(
        CreateFileW(path.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr, OPEN_EXISTING, 0, nullptr));
    LARGE_INTEGER size{};
    if (!file || GetFileSizeEx(file.get(), &size) == FALSE) {
        return last_error(Code::agent_internal, "The package cannot be read", to_utf8(path));
    }
    const auto start = read_start(file.get(), path);
    if (!start) {
        return start.error();
    }
    const Bytes &bytes = start.value();
    if (bytes.size() >= wim_signature.size() && std::equal(wim_signature.begin(), wim_signature.end(), bytes.begin())) {
        return Unit{};
    }
    if (bytes.size() < 4 || little_endian(bytes, 0, 4) != cabinet_signature) {
        return damaged_package(path, "it is neither a cabinet nor a WIM");
    }
    return check_cabinet(bytes, static_cast<std::uint64_t>(size.QuadPart), path);
}

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
