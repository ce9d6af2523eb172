// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/quiescence.hpp"

#include <algorithm>

namespace hotpatch::engine {

namespace {

// A thread *at* the first byte has executed nothing of the function yet and will meet the redirection; unless the function loops
// back to its first byte, which only `functions` cares about: its rule therefore begins with that byte.
Range after_first_byte(std::uint64_t start, std::uint32_t length) {
    return {start + 1, start + length};
}

void add_old_code(StopRules &rules, const Patch &patch) {
    for (const auto &function : patch.functions) {
        const auto start = patch.base + function.rva;
        rules.code.push_back({start, start + function.length});
        rules.returns.push_back(after_first_byte(start, function.length));
    }
}

void add_new_code(StopRules &rules, const Patch &patch) {
    for (const auto &range : patch.code) {
        const Range code{patch.region + range.begin, patch.region + range.end};
        rules.code.push_back(code);
        rules.returns.push_back(code);
    }
}

void add_overwritten(StopRules &rules, const Patch &patch) {
    for (const auto &site : patch.sites) {
        if (site.kind == SiteKind::padding) {
            rules.code.push_back(site.range()); // the jump there may be about to be executed when an older patch is in force
        } else if (site.kind == SiteKind::near_entry) {
            const auto &function = patch.functions[site.function];
            const auto torn = after_first_byte(site.address, function.overwrite);
            rules.code.push_back(torn);
            if (function.calls_in_overwrite) {
                rules.returns.push_back(torn);
            }
        }
    }
}

void add_padding(StopRules &rules, const Patch &patch) {
    for (const auto &site : patch.sites) {
        if (site.kind == SiteKind::padding) {
            rules.code.push_back(site.range());
        }
    }
}

} // namespace

StopRules rules_for(std::span<const Patch *const> leaving, const Patch *entering) {
    StopRules rules;
    bool functions = entering != nullptr && entering->quiescence == Quiescence::functions;
    for (const auto *patch : leaving) {
        functions = functions || patch->quiescence == Quiescence::functions;
        add_padding(rules, *patch);
        rules.unused.push_back(patch->region_range());
    }
    if (entering != nullptr) {
        add_overwritten(rules, *entering);
    }
    if (functions && entering != nullptr) {
        add_old_code(rules, *entering);
    }
    if (functions) {
        for (const auto *patch : leaving) {
            add_new_code(rules, *patch);
        }
    }
    return rules;
}

std::vector<NamedRange> names_for(std::span<const Patch *const> leaving, const Patch *entering) {
    std::vector<NamedRange> names;
    const auto add_old = [&names](const Patch &patch) {
        for (const auto &function : patch.functions) {
            const auto start = patch.base + function.rva;
            names.push_back({function.name, {start, start + function.length}});
        }
    };
    for (const auto *patch : leaving) {
        names.push_back({patch->payload_id, patch->region_range()});
        for (const auto &function : patch->functions) { // a later, closer name counts: the new function up to the region's end
            names.push_back({function.name, {patch->region + function.entry, patch->region + patch->region_size}});
        }
        add_old(*patch);
    }
    if (entering != nullptr) {
        add_old(*entering);
    }
    std::stable_sort(names.begin(), names.end(),
                     [](const auto &left, const auto &right) { return left.range.begin < right.range.begin; });
    return names;
}

bool needs_no_stop(std::span<const Patch *const> leaving, const Patch &entering) {
    return leaving.empty() && entering.quiescence == Quiescence::entry &&
           std::none_of(entering.sites.begin(), entering.sites.end(), [](const Site &site) {
               return site.kind == SiteKind::near_entry || (site.kind == SiteKind::entry && site.address % 2 != 0);
           });
}

} // namespace hotpatch::engine
