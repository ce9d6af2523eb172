// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/candidates.hpp"

#include <algorithm>

#include "engine/text.hpp"

namespace hotpatch::engine {

namespace {

// The size comes with the module list, so other modules' memory is not read at all.
bool has_identity(HANDLE process, const Module &module, const Target &target) {
    if (module.image_size != target.image_size) {
        return false;
    }
    const auto header = read_loaded_header(process, module.base);
    return header && header->timestamp == target.timestamp && header->checksum == target.checksum &&
           header->image_size == target.image_size;
}

} // namespace

std::vector<Candidate> candidates_in(const ProcessEntry &entry, const Target &target) {
    std::vector<Candidate> candidates;
    const auto reading = open_process(entry.id, Access::read);
    if (!reading.ok()) {
        return candidates;
    }
    const auto modules = list_modules(reading.value());
    if (!modules.ok()) {
        return candidates;
    }
    const auto name = to_wide(target.name);
    for (const auto &module : modules.value()) {
        const bool same = has_identity(reading.value().handle.get(), module, target);
        if (!same && !same_name(file_name_of(module.path), name)) {
            continue;
        }
        auto process = open_process(entry.id, Access::read);
        if (process.ok()) {
            candidates.push_back({std::move(process.value()), module, entry.threads, same});
        }
    }
    return candidates;
}

Result<std::vector<Candidate>> find_candidates(const Target &target, std::span<const std::uint32_t> pids) {
    auto processes = list_processes();
    if (!processes.ok()) {
        return processes.error();
    }
    std::vector<Candidate> all;
    for (const auto &entry : processes.value()) {
        const bool wanted = pids.empty() || std::find(pids.begin(), pids.end(), entry.id.pid) != pids.end();
        if (!wanted || entry.id.pid == GetCurrentProcessId()) {
            continue;
        }
        auto candidates = candidates_in(entry, target);
        std::move(candidates.begin(), candidates.end(), std::back_inserter(all));
    }
    return all;
}

} // namespace hotpatch::engine
