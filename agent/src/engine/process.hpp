// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Which processes run, which modules are loaded in them, and which service each belongs to. Nothing here changes a process.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "handle.hpp"
#include "result.hpp"

namespace hotpatch::engine {

// A process for good: a pid alone is used again.
struct ProcessId {
    std::uint32_t pid = 0;
    std::uint64_t created = 0; // FILETIME
    auto operator<=>(const ProcessId &) const = default;
};

struct ProcessEntry {
    ProcessId id;
    std::uint32_t threads = 0;
    std::wstring name; // of its program's file; the kernel's own processes have names too
};

struct Module {
    std::uint64_t base = 0;
    std::uint32_t image_size = 0;
    std::wstring path;
};

// An open process: identity checked against the handle, so that everything done with the handle concerns this very process.
struct Process {
    ProcessId id;
    unique_handle handle;
    std::wstring image;

    [[nodiscard]] bool exited() const noexcept;
};

[[nodiscard]] Result<std::vector<ProcessEntry>> list_processes();

// For reading (preflight) or for everything a transaction needs. target_exited, target_access_denied.
enum class Access : std::uint8_t { read, change };
[[nodiscard]] Result<Process> open_process(const ProcessId &id, Access access);

// The path of the program, which Windows tells even of protected processes; empty when it does not, or when there is no program.
[[nodiscard]] std::wstring image_path(const ProcessId &id);

// The loader's list of modules, read from outside in load order: no lock of the target is taken, so the list may change under the
// reader; a torn read is tried again. A process whose loader has not run yet, or that has none, has no modules.
// target_access_denied when the list cannot be read.
[[nodiscard]] Result<std::vector<Module>> list_modules(const Process &process);

// A value that changes when a module is loaded: two reads, against one for each module. Nothing before the loader has run.
[[nodiscard]] std::optional<std::uint64_t> module_list_tail(HANDLE process);

// Service names by process id; a shared host's names are joined by commas.
[[nodiscard]] std::map<std::uint32_t, std::string> service_names();

} // namespace hotpatch::engine
