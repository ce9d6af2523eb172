// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Preflight of one loaded module: everything that is checked before anything is touched.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine.hpp"
#include "engine/image.hpp"
#include "engine/journal.hpp"
#include "engine/process.hpp"

namespace hotpatch::engine {

// A module in a process that may be a payload's target: of its identity, or at least of its name.
struct Candidate {
    Process process;
    Module module;
    std::uint32_t threads = 0;
    bool same_identity = false;
};

struct Inspection {
    ProcessReport report;               // verdict would_apply, already_applied or error
    std::vector<std::uint64_t> leaving; // transactions in force that the payload takes the place of
    bool cfg = false;
};

class Inspector {
public:
    Inspector(const Journal &journal, ImageCache &images) : journal_(&journal), images_(&images) {}

    // Every check, in an order in which a later one may rely on the earlier ones. Changes nothing.
    [[nodiscard]] Inspection inspect(const Candidate &candidate, const Payload &payload) const;

    // The patches in force in a module.
    [[nodiscard]] std::vector<const Patch *> patches_in(const ProcessId &process, std::uint64_t base) const;

private:
    [[nodiscard]] std::optional<Error> check_identity(ProcessReport &report, const Candidate &candidate,
                                                      const Payload &payload) const;
    [[nodiscard]] std::optional<Error> check_code(const Candidate &candidate, const ImageFile &image) const;
    [[nodiscard]] std::optional<Error> check_payload(const ImageFile &image, const Payload &payload) const;
    [[nodiscard]] std::optional<Error> check_in_force(Inspection &inspection, const Candidate &candidate,
                                                      const Payload &payload) const;

    const Journal *journal_;
    ImageCache *images_;
};

// Site by site what stands in memory: all patched, all original, or neither.
enum class SitesState : std::uint8_t { patched, original, mixed, foreign, unreadable };
[[nodiscard]] SitesState read_sites(HANDLE process, const Patch &patch);

// Whether a module runs the payload's code by the look of its memory alone: every site jumps to one region as this engine writes
// it.
[[nodiscard]] bool jumps_as_patched(HANDLE process, std::uint64_t base, const Payload &payload);

[[nodiscard]] std::vector<SiteReport> report_sites(const Patch &patch, bool patched_before);
[[nodiscard]] Remedy remedy_for(const Error &error, bool service);
[[nodiscard]] bool is_in_force(const Patch &patch);

} // namespace hotpatch::engine
