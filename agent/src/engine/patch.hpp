// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// A patch: one payload in one module of one process. It holds everything that is needed to finish or undo the patch, or to revert
// it later, without the payload's file; the journal keeps exactly this.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/memory.hpp"
#include "engine/process.hpp"
#include "payload.hpp"

namespace hotpatch::engine {

// The steps of a patch's life. The journal holds a record before and after each step that touches the target:
//   preparing → allocated → registering → prepared → committing → applied → reverting → retired → releasing → closed
// and from every one of the first five straight to releasing when it is undone.
enum class Phase : std::uint8_t {
    preparing,   // the region's address is chosen, nothing is allocated yet
    allocated,   // the region is allocated and being filled
    registering, // a thread in the target may be registering the unwind table
    prepared,    // everything outside the stop is done and was read back
    committing,  // sites may be old, new or (only while the target is stopped) mixed
    applied,
    reverting, // as committing, the other way
    retired,   // the sites are as in the file, but the region may still be in use
    releasing, // unwind table and region are being removed
    closed,
};

enum class SiteKind : std::uint8_t { padding, entry, near_entry };

inline constexpr std::size_t largest_site = 5;

// Bytes of the module that a patch changes.
struct Site {
    std::uint64_t address = 0;
    SiteKind kind{};
    std::uint8_t length = 0;
    std::uint16_t function = 0; // index into Patch::functions
    std::array<std::uint8_t, largest_site> original{};
    std::array<std::uint8_t, largest_site> patched{};

    [[nodiscard]] Range range() const { return {address, address + length}; }
};

struct PatchedFunction {
    std::string name;
    std::uint32_t rva = 0;
    std::uint32_t length = 0;
    std::uint32_t entry = 0; // offset of the new function in the region
    std::uint32_t overwrite = 0;
    bool calls_in_overwrite = false; // a call may stand in the overwritten bytes, so a return address may point between them
};

using Nonce = std::array<std::uint8_t, 16>;

struct Patch {
    std::uint64_t transaction = 0;
    Phase phase{};
    ProcessId process;
    std::string image;
    std::string module;
    std::uint64_t base = 0;
    std::uint32_t image_size = 0;

    std::string payload_id;
    std::uint64_t sequence = 0;
    Sha256 sha256{};
    Quiescence quiescence{};
    std::vector<PatchedFunction> functions;
    std::vector<Site> sites;

    std::uint64_t region = 0;          // base of the payload's region in the target
    std::uint32_t region_size = 0;     // the payload's part
    std::uint32_t allocation_size = 0; // with the trailer: nonce and unwind table
    Nonce nonce{};                     // at the start of the trailer; proves that an allocation is ours
    std::uint32_t unwind_entries = 0;
    std::vector<Range> code; // offsets in the region of its executable sections

    std::vector<std::uint64_t> replaces; // transactions whose place this one takes
    bool stopped = false;                // the change that `phase` announces is made in a stop, not entry by entry
    std::uint64_t since = 0;             // seconds since 1970 of the last change of phase that people care about
    double stop_us = 0;

    [[nodiscard]] Range region_range() const { return {region, region + region_size}; }
    [[nodiscard]] bool holds_region() const { return phase != Phase::preparing && phase != Phase::closed; }
    [[nodiscard]] bool in_module(const ProcessId &id, std::uint64_t module_base) const {
        return process == id && base == module_base;
    }
};

// What a stop changes: bytes at an address, from what must be there to what shall be there.
struct Change {
    std::uint64_t address = 0;
    std::uint8_t length = 0;
    std::array<std::uint8_t, largest_site> before{};
    std::array<std::uint8_t, largest_site> after{};
};

// From the state in which `leaving` are in force to the one in which `entering` is (either may be empty), in the order of
// addresses.
[[nodiscard]] std::vector<Change> changes_between(std::span<const Patch *const> leaving, const Patch *entering);
[[nodiscard]] std::vector<Change> reversed(std::vector<Change> changes);

// The sites of a payload in a module at `base`, with its region at `region`.
[[nodiscard]] std::vector<Site> sites_of(const Payload &payload, std::uint64_t base, std::uint64_t region);

} // namespace hotpatch::engine
