// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/threads.hpp"

#include <algorithm>

namespace hotpatch::engine {

namespace {

constexpr std::uint64_t teb_stack_base = 0x08;           // NT_TIB.StackBase
constexpr std::uint64_t teb_deallocation_stack = 0x1478; // TEB.DeallocationStack

constexpr std::uint64_t teb_fiber_data = 0x20; // NT_TIB.FiberData; of a thread that is none it is 0 or a version number
constexpr std::uint64_t lowest_address = 0x10000;
constexpr std::uint64_t highest_address = 0x7FFFFFFE0000;

std::uint64_t teb_of(HANDLE thread) noexcept {
    nt::ThreadBasicInformation info{};
    return nt::calls().query_thread(thread, nt::thread_basic, &info, sizeof info, nullptr) < 0 ? 0 : info.teb;
}

bool overlaps_any(const std::vector<Range> &ranges, const Range &block) {
    return std::any_of(ranges.begin(), ranges.end(), [&block](const Range &range) { return range.overlaps(block); });
}

} // namespace

bool has_begun(HANDLE thread) noexcept {
    nt::ThreadBasicInformation info{};
    return nt::calls().query_thread(thread, nt::thread_basic, &info, sizeof info, nullptr) < 0 || info.teb != 0;
}

bool is_fiber(HANDLE process, HANDLE thread) noexcept {
    const auto teb = teb_of(thread);
    return teb != 0 && read_value<std::uint64_t>(process, teb + teb_fiber_data).value_or(0) >= lowest_address;
}

Range stack_of(HANDLE process, HANDLE thread) noexcept {
    const auto teb = teb_of(thread);
    if (teb == 0) {
        return {};
    }
    const auto base = read_value<std::uint64_t>(process, teb + teb_stack_base);
    const auto deepest = read_value<std::uint64_t>(process, teb + teb_deallocation_stack);
    return base && deepest ? Range{*deepest, *base} : Range{};
}

std::vector<Range> parked_stacks(HANDLE process, const std::vector<Range> &stacks_of_threads) {
    std::vector<Range> parked;
    std::uint64_t guarded = 0; // the allocation of the last guard page that was met
    for (auto address = lowest_address; address < highest_address;) {
        const auto info = query_memory(process, address);
        if (!info || info->RegionSize == 0) {
            break;
        }
        const auto begin = reinterpret_cast<std::uint64_t>(info->BaseAddress);
        const auto allocation = reinterpret_cast<std::uint64_t>(info->AllocationBase);
        const Range block{begin, begin + info->RegionSize};
        if (info->State == MEM_COMMIT && info->Type == MEM_PRIVATE) {
            if ((info->Protect & PAGE_GUARD) != 0) {
                guarded = allocation;
            } else if (guarded == allocation && is_writable(info->Protect) && !overlaps_any(stacks_of_threads, block)) {
                parked.push_back(block);
            }
        }
        address = block.end;
    }
    return parked;
}

} // namespace hotpatch::engine
