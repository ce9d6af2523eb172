// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/inspect.hpp"

#include <algorithm>

#include "engine/mitigations.hpp"
#include "text.hpp"

namespace hotpatch::engine {

namespace {

std::optional<std::span<const std::uint8_t>> file_bytes(const ImageFile &image, std::uint64_t rva, std::size_t length) {
    for (const auto &section : image.sections) {
        if (section.executable && rva >= section.rva && rva + length <= std::uint64_t{section.rva} + section.file_size) {
            return std::span(image.bytes).subspan(section.file_offset + (rva - section.rva), length);
        }
    }
    return std::nullopt;
}

bool stands_in_file(const ImageFile &image, std::uint64_t rva, std::span<const std::uint8_t> bytes) {
    const auto found = file_bytes(image, rva, bytes.size());
    return found && std::equal(bytes.begin(), bytes.end(), found->begin());
}

// What the redirection relies on, whoever made the payload: the short form's single aligned exchange, the near form's five bytes.
bool redirectable(const Function &function) {
    if (function.redirect == Redirect::short_jump) {
        return function.padding.size() == largest_site && function.rva % 2 == 0 && function.rva >= function.padding.size() &&
               function.overwrite == 2 && function.expected.size() >= function.overwrite;
    }
    return function.padding.empty() && function.overwrite >= largest_site && function.expected.size() >= function.overwrite;
}

Range range_of(const Function &function) {
    return {function.rva, std::uint64_t{function.rva} + function.length};
}
Range range_of(const PatchedFunction &function) {
    return {function.rva, std::uint64_t{function.rva} + function.length};
}

bool overlap(const Patch &patch, const Payload &payload) {
    return std::any_of(patch.functions.begin(), patch.functions.end(), [&](const auto &old) {
        return std::any_of(payload.functions.begin(), payload.functions.end(),
                           [&](const auto &fresh) { return range_of(old).overlaps(range_of(fresh)); });
    });
}

bool takes_place_of(const Payload &payload, const Patch &patch) {
    return patch.payload_id == payload.id ||
           std::find(payload.replaces.begin(), payload.replaces.end(), patch.payload_id) != payload.replaces.end();
}

Error about(Code code, const Candidate &candidate, std::string message = {}) {
    return {code, std::move(message), to_utf8(candidate.module.path), 0};
}

// What stands at each place that the payload would change.
std::vector<SiteReport> found_sites(const Candidate &candidate, const Payload &payload) {
    std::vector<SiteReport> reports;
    for (const auto &site : sites_of(payload, candidate.module.base, candidate.module.base)) {
        Bytes found(site.length);
        if (read_memory(candidate.process.handle.get(), site.address, found)) {
            const auto rva = static_cast<std::uint32_t>(site.address - candidate.module.base);
            reports.push_back({payload.functions[site.function].name, rva, std::move(found), {}});
        }
    }
    return reports;
}

ProcessReport describe(const Candidate &candidate) {
    ProcessReport report;
    report.pid = candidate.process.id.pid;
    report.created = candidate.process.id.created;
    report.image = to_utf8(candidate.process.image);
    report.module = to_utf8(candidate.module.path);
    report.base = candidate.module.base;
    report.threads = candidate.threads;
    report.state = State::not_applied;
    return report;
}

} // namespace

bool is_in_force(const Patch &patch) {
    return patch.phase == Phase::applied || patch.phase == Phase::reverting;
}

SitesState read_sites(HANDLE process, const Patch &patch) {
    std::size_t patched = 0, original = 0;
    for (const auto &site : patch.sites) {
        std::array<std::uint8_t, largest_site> actual{};
        if (!read_memory(process, site.address, std::span(actual).first(site.length))) {
            return SitesState::unreadable;
        }
        patched += actual == site.patched ? 1 : 0;
        original += actual == site.original ? 1 : 0;
    }
    if (patched == patch.sites.size()) {
        return SitesState::patched;
    }
    if (original == patch.sites.size()) {
        return SitesState::original;
    }
    return patched + original == patch.sites.size() ? SitesState::mixed : SitesState::foreign;
}

bool jumps_as_patched(HANDLE process, std::uint64_t base, const Payload &payload) {
    if (payload.functions.empty()) {
        return false;
    }
    const auto &first = payload.functions.front();
    const auto jump = base + first.rva - first.padding.size(); // where the five bytes of JMP rel32 stand in either form
    const auto distance = read_value<std::int32_t>(process, jump + 1);
    if (!distance) {
        return false;
    }
    Patch patch;
    patch.sites =
        sites_of(payload, base, jump + largest_site + static_cast<std::uint64_t>(std::int64_t{*distance}) - first.entry);
    return read_sites(process, patch) == SitesState::patched;
}

std::vector<SiteReport> report_sites(const Patch &patch, bool patched_before) {
    std::vector<SiteReport> reports;
    for (const auto &site : patch.sites) {
        const Bytes original(site.original.begin(), site.original.begin() + site.length);
        const Bytes patched(site.patched.begin(), site.patched.begin() + site.length);
        reports.push_back({patch.functions[site.function].name, static_cast<std::uint32_t>(site.address - patch.base),
                           patched_before ? patched : original, patched_before ? original : patched});
    }
    return reports;
}

// The cheapest thing that closes the gap for a process that a payload cannot reach.
Remedy remedy_for(const Error &error, bool service) {
    if (error.code == Code::target_protected) {
        return Remedy::reboot;
    }
    switch (row_of(error.code).outcome) {
    case Outcome::busy:
        return Remedy::apply;
    case Outcome::failed:
        if (error.code != Code::target_no_memory_near) { // a process gives its memory back when it ends
            return Remedy::apply;
        }
        break;
    case Outcome::refused:
    case Outcome::inconsistent:
        break;
    }
    return service ? Remedy::restart_service : Remedy::restart_process;
}

std::vector<const Patch *> Inspector::patches_in(const ProcessId &process, std::uint64_t base) const {
    std::vector<const Patch *> found;
    for (const auto &[transaction, patch] : journal_->open_patches()) {
        if (is_in_force(patch) && patch.in_module(process, base)) {
            found.push_back(&patch);
        }
    }
    return found;
}

std::optional<Error> Inspector::check_identity(ProcessReport &report, const Candidate &candidate, const Payload &payload) const {
    const auto image = images_->get(candidate.module.path);
    if (image.ok()) {
        report.file_sha256 = image.value()->sha256;
    }
    if (!candidate.same_identity) {
        return about(Code::target_module_mismatch, candidate);
    }
    if (!image.ok()) {
        return image.error();
    }
    if (image.value()->sha256 != payload.target.sha256) {
        return about(Code::target_file_changed, candidate);
    }
    if (auto error = check_payload(*image.value(), payload)) {
        error->where = to_utf8(candidate.module.path);
        return error;
    }
    auto error = check_code(candidate, *image.value());
    report.code_matches = !error;
    if (error && error->code == Code::target_code_modified && patches_in(candidate.process.id, candidate.module.base).empty() &&
        jumps_as_patched(candidate.process.handle.get(), candidate.module.base, payload)) {
        return about(Code::journal_disagrees, candidate, payload.id + " is in the process' memory but not in the journal");
    }
    return error;
}

std::optional<Error> Inspector::check_payload(const ImageFile &image, const Payload &payload) const {
    for (const auto &function : payload.functions) {
        if (!redirectable(function)) {
            return Error{Code::payload_malformed, function.name + " cannot be redirected as the payload says", "", 0};
        }
        if (!stands_in_file(image, function.rva, function.expected) ||
            !stands_in_file(image, function.rva - function.padding.size(), function.padding)) {
            return Error{Code::target_module_mismatch, function.name + " has other bytes than the payload expects", "", 0};
        }
    }
    return std::nullopt;
}

std::optional<Error> Inspector::check_code(const Candidate &candidate, const ImageFile &image) const {
    const auto process = candidate.process.handle.get();
    std::vector<Range> masked;
    for (const auto *patch : patches_in(candidate.process.id, candidate.module.base)) {
        if (read_sites(process, *patch) != SitesState::patched) {
            return about(Code::site_changed, candidate, "a site of " + patch->payload_id + " was changed");
        }
        for (const auto &site : patch->sites) {
            const auto rva = site.address - patch->base;
            masked.push_back({rva, rva + site.length});
        }
    }
    const auto difference = compare_code(process, candidate.module.base, image, masked);
    if (!difference.ok()) {
        return candidate.process.exited() ? about(Code::target_exited, candidate) : difference.error();
    }
    if (difference.value()) {
        return about(Code::target_code_modified, candidate,
                     "the code differs from its file at RVA 0x" + hex(*difference.value()));
    }
    return std::nullopt;
}

std::optional<Error> Inspector::check_in_force(Inspection &inspection, const Candidate &candidate, const Payload &payload) const {
    for (const auto *patch : patches_in(candidate.process.id, candidate.module.base)) {
        inspection.report.payloads.push_back(patch->payload_id);
        if (patch->payload_id == payload.id && patch->sequence == payload.sequence && patch->sha256 == payload.file_sha256) {
            inspection.report.state = State::applied;
            inspection.report.verdict = Verdict::already_applied;
            inspection.report.sites = report_sites(*patch, false);
        } else if (patch->payload_id == payload.id && patch->sequence >= payload.sequence) {
            return about(Code::payload_sequence_back, candidate);
        } else if (takes_place_of(payload, *patch)) {
            inspection.leaving.push_back(patch->transaction);
        } else if (overlap(*patch, payload)) {
            return about(Code::payload_overlaps, candidate, patch->payload_id + " replaces one of the same functions");
        }
    }
    return std::nullopt;
}

Inspection Inspector::inspect(const Candidate &candidate, const Payload &payload) const {
    Inspection inspection{describe(candidate), {}, false};
    auto &report = inspection.report;
    report.verdict = Verdict::would_apply;
    const auto conditions = read_conditions(candidate.process.handle.get(), candidate.process.id.pid);
    report.mitigations = conditions.mitigations;
    inspection.cfg = conditions.mitigations.cfg;
    // In-force patches first: a process that runs them is listed as such even when it could not be patched again.
    auto error = check_in_force(inspection, candidate, payload);
    if (!error) {
        const auto forbidden = report.verdict == Verdict::already_applied ? std::nullopt : forbidding(conditions);
        auto mismatch = check_identity(report, candidate, payload);
        error = forbidden ? std::optional(about(*forbidden, candidate)) : std::move(mismatch);
    }
    if (!error && report.verdict == Verdict::would_apply) {
        report.sites = found_sites(candidate, payload);
    }
    if (error) {
        const bool inconsistent = error->code == Code::site_changed || error->code == Code::journal_disagrees;
        report.state = inconsistent ? State::inconsistent : report.state;
        report.verdict = Verdict::error;
        report.error = std::move(error);
    }
    return inspection;
}

} // namespace hotpatch::engine
