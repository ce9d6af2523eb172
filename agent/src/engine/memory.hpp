// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Reading and writing another process' memory.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include <windows.h>

#include "payload.hpp"

namespace hotpatch::engine {

inline constexpr std::uint64_t page_size = 4096;
inline constexpr std::uint64_t allocation_granularity = 0x10000;

// Half-open range of addresses.
struct Range {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    [[nodiscard]] bool contains(std::uint64_t address) const noexcept { return address >= begin && address < end; }
    [[nodiscard]] bool overlaps(const Range &other) const noexcept { return begin < other.end && other.begin < end; }
};

[[nodiscard]] constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t unit) {
    return value / unit * unit;
}
[[nodiscard]] constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t unit) {
    return align_down(value + unit - 1, unit);
}

[[nodiscard]] inline void *pointer(std::uint64_t address) {
    return reinterpret_cast<void *>(address); // NOLINT(performance-no-int-to-ptr): an address of another process
}

// All of the bytes or false; no allocation, so it may be called while the target is stopped.
[[nodiscard]] bool read_memory(HANDLE process, std::uint64_t address, std::span<std::uint8_t> out) noexcept;

template <typename T> [[nodiscard]] std::optional<T> read_value(HANDLE process, std::uint64_t address) noexcept {
    T value{};
    if (!read_memory(process, address, {reinterpret_cast<std::uint8_t *>(&value), sizeof value})) {
        return std::nullopt;
    }
    return value;
}

// Writes without touching any protection: NtWriteVirtualMemory, not WriteProcessMemory, which on Windows makes a read-execute
// page PAGE_EXECUTE_READWRITE for the length of the write. False when the pages are not writable (Windows) or not there.
[[nodiscard]] bool write_memory(HANDLE process, std::uint64_t address, std::span<const std::uint8_t> bytes) noexcept;

[[nodiscard]] std::optional<MEMORY_BASIC_INFORMATION> query_memory(HANDLE process, std::uint64_t address) noexcept;

// The protection before, or nothing when it could not be changed.
[[nodiscard]] std::optional<std::uint32_t> protect_memory(HANDLE process, const Range &pages, std::uint32_t protection) noexcept;

[[nodiscard]] constexpr bool is_executable(std::uint32_t protection) {
    return (protection & (PAGE_EXECUTE | PAGE_EXECUTE_READ | PAGE_EXECUTE_READWRITE | PAGE_EXECUTE_WRITECOPY)) != 0;
}
[[nodiscard]] constexpr bool is_writable(std::uint32_t protection) {
    return (protection & (PAGE_READWRITE | PAGE_WRITECOPY | PAGE_EXECUTE_READWRITE | PAGE_EXECUTE_WRITECOPY)) != 0;
}

} // namespace hotpatch::engine
