// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/memory.hpp"

#include "engine/faults.hpp"
#include "engine/nt.hpp"

namespace hotpatch::engine {

bool read_memory(HANDLE process, std::uint64_t address, std::span<std::uint8_t> out) noexcept {
    SIZE_T done = 0;
    return out.empty() || (ReadProcessMemory(process, pointer(address), out.data(), out.size(), &done) && done == out.size());
}

bool write_memory(HANDLE process, std::uint64_t address, std::span<const std::uint8_t> bytes) noexcept {
    if (test_setting("HOTPATCH_STRICT_PAGES") != nullptr) {
        for (const auto end : {address, address + bytes.size() - 1}) {
            const auto info = query_memory(process, end);
            if (!info || !is_writable(info->Protect)) {
                return false;
            }
        }
    }
    SIZE_T done = 0;
    return nt::calls().write_virtual_memory(process, pointer(address), bytes.data(), bytes.size(), &done) >= 0 &&
           done == bytes.size();
}

std::optional<MEMORY_BASIC_INFORMATION> query_memory(HANDLE process, std::uint64_t address) noexcept {
    MEMORY_BASIC_INFORMATION info{};
    if (VirtualQueryEx(process, pointer(address), &info, sizeof info) != sizeof info) {
        return std::nullopt;
    }
    return info;
}

std::optional<std::uint32_t> protect_memory(HANDLE process, const Range &pages, std::uint32_t protection) noexcept {
    DWORD before = 0;
    if (!VirtualProtectEx(process, pointer(pages.begin), pages.end - pages.begin, protection, &before)) {
        return std::nullopt;
    }
    return before;
}

} // namespace hotpatch::engine
