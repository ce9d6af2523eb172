// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/patch.hpp"

#include <algorithm>
#include <cstring>
#include <map>

namespace hotpatch::engine {

namespace {

constexpr std::uint8_t jump_near = 0xE9;                           // JMP rel32
constexpr std::array<std::uint8_t, 2> jump_to_padding{0xEB, 0xF9}; // JMP -7: five bytes in front of itself

void put_jump(Site &site, std::uint64_t destination) {
    const auto distance = static_cast<std::int32_t>(destination - (site.address + 5));
    site.patched[0] = jump_near;
    std::memcpy(site.patched.data() + 1, &distance, sizeof distance);
}

Site site_at(std::uint64_t address, SiteKind kind, std::size_t function, std::span<const std::uint8_t> original) {
    Site site{address, kind, static_cast<std::uint8_t>(original.size()), static_cast<std::uint16_t>(function), {}, {}};
    std::copy(original.begin(), original.end(), site.original.begin());
    return site;
}

} // namespace

std::vector<Site> sites_of(const Payload &payload, std::uint64_t base, std::uint64_t region) {
    std::vector<Site> sites;
    for (std::size_t index = 0; index < payload.functions.size(); ++index) {
        const auto &function = payload.functions[index];
        const std::span expected(function.expected);
        const auto start = base + function.rva;
        if (function.redirect == Redirect::short_jump) {
            sites.push_back(site_at(start - function.padding.size(), SiteKind::padding, index, function.padding));
            put_jump(sites.back(), region + function.entry);
            sites.push_back(site_at(start, SiteKind::entry, index, expected.first(jump_to_padding.size())));
            std::copy(jump_to_padding.begin(), jump_to_padding.end(), sites.back().patched.begin());
        } else {
            sites.push_back(site_at(start, SiteKind::near_entry, index, expected.first(largest_site)));
            put_jump(sites.back(), region + function.entry);
        }
    }
    return sites;
}

std::vector<Change> changes_between(std::span<const Patch *const> leaving, const Patch *entering) {
    std::map<std::uint64_t, Change> changes;
    for (const auto *patch : leaving) {
        for (const auto &site : patch->sites) {
            changes[site.address] = {site.address, site.length, site.patched, site.original};
        }
    }
    if (entering != nullptr) {
        for (const auto &site : entering->sites) {
            const auto [place, fresh] =
                changes.try_emplace(site.address, Change{site.address, site.length, site.original, site.patched});
            place->second.after = site.patched;
        }
    }
    std::vector<Change> result;
    for (const auto &[address, change] : changes) {
        if (change.before != change.after) {
            result.push_back(change);
        }
    }
    return result;
}

std::vector<Change> reversed(std::vector<Change> changes) {
    for (auto &change : changes) {
        std::swap(change.before, change.after);
    }
    return changes;
}

} // namespace hotpatch::engine
