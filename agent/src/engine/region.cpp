// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/region.hpp"

#include <algorithm>
#include <cstring>

#include "engine/nt.hpp"
#include "text.hpp"

namespace hotpatch::engine {

namespace {

constexpr std::uint64_t reach = 0x7FFF0000; // of a rel32, less one granule so that no corner case of the sign is met
constexpr std::uint64_t lowest_address = 0x10000;
constexpr std::uint64_t highest_address = 0x7FFFFFFE0000;

Error write_failure(const Patch &patch, const char *what) {
    return {Code::target_write_failed, what, "process " + std::to_string(patch.process.pid), GetLastError()};
}

// Every address from which the region reaches the module's both ends.
Range window_around(const Range &module, std::uint32_t size) {
    const auto lowest = module.end > reach + lowest_address ? module.end - reach : lowest_address;
    const auto highest = std::min(module.begin + reach, highest_address) - size;
    return {align_up(lowest, allocation_granularity), align_down(highest, allocation_granularity)};
}

// The candidate of a free block that is nearest to the module, if the block has room inside the window.
std::optional<std::uint64_t> candidate_in(const Range &block, const Range &window, std::uint64_t module, std::uint32_t size) {
    const auto first = align_up(std::max(block.begin, window.begin), allocation_granularity);
    const auto limit = std::min(block.end, window.end + size);
    if (limit < first + size || first > window.end) {
        return std::nullopt;
    }
    const auto last = align_down(limit - size, allocation_granularity);
    return last < first ? std::nullopt : std::optional(block.begin < module ? last : first);
}

std::uint64_t distance(std::uint64_t left, std::uint64_t right) {
    return left > right ? left - right : right - left;
}

// The value of a fixup, or nothing when it is out of reach.
std::optional<std::uint64_t> fixup_value(const Fixup &fixup, const Patch &patch) {
    const auto base = fixup.base == FixupBase::target ? patch.base : patch.region;
    const auto value = base + fixup.value + static_cast<std::uint64_t>(std::int64_t{fixup.addend});
    if (fixup.kind == FixupKind::abs64) {
        return value;
    }
    const auto relative = static_cast<std::int64_t>(value - (patch.region + fixup.offset + 4));
    return relative == static_cast<std::int32_t>(relative) ? std::optional(static_cast<std::uint64_t>(relative)) : std::nullopt;
}

// The region as it shall stand in the target; target_no_memory_near when a reference does not reach.
Result<Bytes> relocated(const Patch &patch, const Payload &payload) {
    Bytes image(payload.region_size);
    for (const auto &section : payload.sections) {
        std::copy(section.data.begin(), section.data.end(), image.begin() + section.offset);
    }
    for (const auto &fixup : payload.fixups) {
        const auto value = fixup_value(fixup, patch);
        const std::size_t width = fixup.kind == FixupKind::abs64 ? 8 : 4;
        if (!value || fixup.offset + width > image.size()) {
            return Error{Code::target_no_memory_near, "a reference does not reach its place", "offset " + hex(fixup.offset), 0};
        }
        std::memcpy(image.data() + fixup.offset, &*value, width);
    }
    return image;
}

Bytes trailer(const Patch &patch, const Payload &payload) {
    Bytes bytes(patch.nonce.begin(), patch.nonce.end());
    for (const auto &entry : payload.unwind) {
        const std::array<std::uint32_t, 3> function{entry.begin, entry.end, entry.info}; // RUNTIME_FUNCTION
        const auto *raw = reinterpret_cast<const std::uint8_t *>(function.data());
        bytes.insert(bytes.end(), raw, raw + sizeof function);
    }
    bytes.resize(patch.allocation_size - patch.region_size);
    return bytes;
}

std::uint32_t windows_protection(Protection protection) {
    switch (protection) {
    case Protection::read_execute:
        return PAGE_EXECUTE_READ;
    case Protection::read:
        return PAGE_READONLY;
    case Protection::read_write:
        break;
    }
    return PAGE_READWRITE;
}

// In a process with CFG, making a page executable would make every address in it a valid target of an indirect call
// (memory-protection-constants: PAGE_TARGETS_NO_UPDATE keeps the map as it was, here empty); then only the starts of functions
// are made valid, as in an image built with /guard:cf.
Status set_call_targets(HANDLE process, const Patch &patch, const Payload &payload) {
    std::vector<CFG_CALL_TARGET_INFO> targets;
    const auto add = [&targets](std::uint32_t offset) {
        if (offset % 16 == 0) {
            targets.push_back({offset, CFG_CALL_TARGET_VALID});
        }
    };
    for (const auto &function : payload.functions) {
        add(function.entry);
    }
    for (const auto &entry : payload.unwind) {
        add(entry.begin);
    }
    std::sort(targets.begin(), targets.end(), [](const auto &left, const auto &right) { return left.Offset < right.Offset; });
    targets.erase(std::unique(targets.begin(), targets.end(),
                              [](const auto &left, const auto &right) { return left.Offset == right.Offset; }),
                  targets.end());
    if (!nt::calls().set_valid_call_targets(process, pointer(patch.region), patch.region_size, static_cast<ULONG>(targets.size()),
                                            targets.data())) {
        return write_failure(patch, "the targets of indirect calls could not be set");
    }
    return Unit{};
}

Status protect_sections(HANDLE process, const Patch &patch, const Payload &payload, bool keep_call_targets) {
    for (const auto &section : payload.sections) {
        auto protection = windows_protection(section.protection);
        if (is_executable(protection) && keep_call_targets) {
            protection |= PAGE_TARGETS_NO_UPDATE;
        }
        const auto begin = patch.region + section.offset;
        if (!protect_memory(process, {begin, begin + align_up(section.size, page_size)}, protection)) {
            return write_failure(patch, "the new code could not be made executable");
        }
    }
    const Range tail{patch.region + patch.region_size, patch.region + patch.allocation_size};
    if (!protect_memory(process, tail, PAGE_READONLY)) {
        return write_failure(patch, "the unwind table could not be protected");
    }
    return Unit{};
}

Status read_back(HANDLE process, const Patch &patch, std::span<const std::uint8_t> expected) {
    Bytes actual(expected.size());
    if (!read_memory(process, patch.region, actual) || !std::equal(actual.begin(), actual.end(), expected.begin())) {
        return Error{Code::target_verify_failed, "the new code reads back different",
                     "process " + std::to_string(patch.process.pid), 0};
    }
    return Unit{};
}

} // namespace

std::uint32_t allocation_size_of(const Payload &payload) {
    const auto tail = sizeof(Nonce) + payload.unwind.size() * sizeof(RUNTIME_FUNCTION);
    return payload.region_size + static_cast<std::uint32_t>(align_up(tail, page_size));
}

std::uint64_t unwind_table_of(const Patch &patch) {
    return patch.region + patch.region_size + sizeof(Nonce);
}

Result<std::uint64_t> find_near(HANDLE process, const Range &module, std::uint32_t size) {
    const auto window = window_around(module, size);
    std::optional<std::uint64_t> best;
    for (auto address = window.begin; address < window.end + size;) {
        const auto info = query_memory(process, address);
        if (!info || info->RegionSize == 0) {
            break;
        }
        const auto begin = reinterpret_cast<std::uint64_t>(info->BaseAddress);
        const auto end = begin + info->RegionSize;
        if (info->State == MEM_FREE) {
            const auto candidate = candidate_in({begin, end}, window, module.begin, size);
            if (candidate && (!best || distance(*candidate, module.begin) < distance(*best, module.begin))) {
                best = candidate;
            }
        }
        address = end;
    }
    if (!best) {
        return Error{Code::target_no_memory_near, "", "module at " + hex(module.begin), 0};
    }
    return *best;
}

Status allocate_region(HANDLE process, const Patch &patch) {
    if (VirtualAllocEx(process, pointer(patch.region), patch.allocation_size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE) ==
        nullptr) {
        return Error{Code::target_no_memory_near, "the address that was free is taken", hex(patch.region), GetLastError()};
    }
    if (!write_memory(process, patch.region + patch.region_size, patch.nonce)) {
        auto failure = write_failure(patch, "the new memory cannot be written");
        VirtualFreeEx(process, pointer(patch.region), 0, MEM_RELEASE);
        return failure;
    }
    return Unit{};
}

Status fill_region(HANDLE process, const Patch &patch, const Payload &payload, bool guarded_by_cfg) {
    auto image = relocated(patch, payload);
    if (!image.ok()) {
        return image.error();
    }
    auto &bytes = image.value();
    const auto tail = trailer(patch, payload);
    bytes.insert(bytes.end(), tail.begin(), tail.end());
    if (!write_memory(process, patch.region, bytes)) {
        return write_failure(patch, "the new code could not be written");
    }
    const bool keep_call_targets = guarded_by_cfg && nt::calls().set_valid_call_targets != nullptr;
    if (auto status = protect_sections(process, patch, payload, keep_call_targets); !status.ok()) {
        return status;
    }
    if (keep_call_targets) {
        if (auto status = set_call_targets(process, patch, payload); !status.ok()) {
            return status;
        }
    }
    FlushInstructionCache(process, pointer(patch.region), patch.allocation_size);
    return read_back(process, patch, bytes);
}

bool owns_region(HANDLE process, const Patch &patch) {
    const auto info = query_memory(process, patch.region);
    const auto nonce = read_value<Nonce>(process, patch.region + patch.region_size);
    return info && reinterpret_cast<std::uint64_t>(info->AllocationBase) == patch.region && nonce == patch.nonce;
}

bool free_region(HANDLE process, const Patch &patch) {
    return !owns_region(process, patch) || VirtualFreeEx(process, pointer(patch.region), 0, MEM_RELEASE);
}

} // namespace hotpatch::engine
