// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/usage.hpp"

#include <algorithm>
#include <vector>

#include "engine/region.hpp"
#include "engine/threads.hpp"

namespace hotpatch::engine {

namespace {

constexpr std::uint64_t largest_sweep = 1ULL << 30; // about a second of reading on a slow host
constexpr std::size_t chunk_words = 32 * 1024;
constexpr std::uint64_t highest_address = 0x7FFFFFFE0000;
constexpr int sweeps = 2; // a pointer that moves from unread to read memory during the first is met by the second

// ntdll's own note of the unwind table holds the region's start and end beside the table's address, also after it was freed. Such
// words are no use of the code. 8 words are the size of that note on Windows (RTL DYNAMIC_FUNCTION_TABLE) and on Wine.
constexpr std::ptrdiff_t note_words = 8;

bool is_note(std::span<const std::uint64_t> words, std::size_t place, std::uint64_t table) {
    const auto at = static_cast<std::ptrdiff_t>(place);
    const auto first = std::max<std::ptrdiff_t>(at - note_words, 0);
    const auto last = std::min<std::ptrdiff_t>(at + note_words, static_cast<std::ptrdiff_t>(words.size()));
    return std::find(words.begin() + first, words.begin() + last, table) != words.begin() + last;
}

bool holds_pointer(std::span<const std::uint64_t> words, const Range &region, std::uint64_t table) {
    for (std::size_t place = 0; place < words.size(); ++place) {
        if (region.contains(words[place]) && !is_note(words, place, table)) {
            return true;
        }
    }
    return false;
}

// The region itself, and the stacks: their used parts were read in the stop, and what lies below a stack pointer is of no use to
// anyone but full of old return addresses.
std::vector<Range> not_swept(HANDLE process, const Patch &patch) {
    std::vector<Range> ranges{{patch.region, patch.region + patch.allocation_size}};
    each_thread(process, THREAD_QUERY_INFORMATION, [&](HANDLE thread) {
        ranges.push_back(stack_of(process, thread));
        return true;
    });
    return ranges;
}

// Calls `visit` with each readable, writable block that is swept until it returns false.
template <typename Visit> void each_writable(HANDLE process, const std::vector<Range> &excluded, Visit visit) {
    for (std::uint64_t address = 0x10000; address < highest_address;) {
        const auto info = query_memory(process, address);
        if (!info || info->RegionSize == 0) {
            return;
        }
        const Range block{reinterpret_cast<std::uint64_t>(info->BaseAddress),
                          reinterpret_cast<std::uint64_t>(info->BaseAddress) + info->RegionSize};
        const bool readable = info->State == MEM_COMMIT && is_writable(info->Protect) && (info->Protect & PAGE_GUARD) == 0;
        const bool swept =
            std::none_of(excluded.begin(), excluded.end(), [&](const Range &range) { return range.overlaps(block); });
        if (readable && swept && !visit(block)) {
            return;
        }
        address = block.end;
    }
}

bool sweep_finds(HANDLE process, const Patch &patch) {
    std::vector<std::uint64_t> words(chunk_words);
    std::uint64_t total = 0;
    bool found = false;
    each_writable(process, not_swept(process, patch), [&](const Range &block) {
        total += block.end - block.begin;
        found = total > largest_sweep;
        for (auto begin = block.begin; begin < block.end && !found; begin += words.size() * sizeof(std::uint64_t)) {
            const auto bytes = std::min<std::uint64_t>(words.size() * sizeof(std::uint64_t), block.end - begin);
            const auto part = std::span(words).first(bytes / sizeof(std::uint64_t));
            // A block that went away meanwhile holds no pointer.
            found = read_memory(process, begin, {reinterpret_cast<std::uint8_t *>(part.data()), part.size_bytes()}) &&
                    holds_pointer(part, patch.region_range(), unwind_table_of(patch));
        }
        return !found;
    });
    return found;
}

} // namespace

bool points_into(HANDLE process, const Patch &patch) {
    for (int sweep = 0; sweep < sweeps; ++sweep) {
        if (sweep_finds(process, patch)) {
            return true;
        }
    }
    return false;
}

} // namespace hotpatch::engine
