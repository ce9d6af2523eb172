// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/stop_file.hpp"

#include <new>

#include "engine/state_file.hpp"

namespace hotpatch::engine {

namespace {

constexpr DWORD guard_wait_ms = 10'000; // a guard needs milliseconds for what it does, and may have to wait for a processor
constexpr std::uint64_t format = 0x3146504F54535048; // "HPSTOPF1"; another one when StopBlock changes

bool has_size(HANDLE file) noexcept {
    LARGE_INTEGER size{};
    return GetFileSizeEx(file, &size) && size.QuadPart == static_cast<LONGLONG>(sizeof(StopBlock));
}

// Written, not only made long: a place on the disk that is missing is an error here and not the end of the program later.
bool fill(HANDLE file) {
    return cut(file, 0) && write_through(file, Bytes(sizeof(StopBlock)));
}

// A process that ended, or whose id another one has now, needs nothing.
void end_stop(StopBlock &block) {
    const auto process = open_process(block.target, Access::change);
    if (process.ok()) {
        undo_stop(process.value().handle.get(), block);
    }
}

} // namespace

MappedBlock map_block(HANDLE file) noexcept {
    const unique_handle mapping(CreateFileMappingW(file, nullptr, PAGE_READWRITE, 0, sizeof(StopBlock), nullptr));
    return MappedBlock(
        mapping ? static_cast<StopBlock *>(MapViewOfFile(mapping.get(), FILE_MAP_ALL_ACCESS, 0, 0, sizeof(StopBlock))) : nullptr);
}

Result<StopFile> StopFile::open(const std::wstring &path) {
    auto file = open_state_file(path, OPEN_ALWAYS, guard_wait_ms);
    if (!file.ok()) {
        return file.error();
    }
    if (!has_size(file.value().get()) && !fill(file.value().get())) {
        return unusable(path, "the file of the stop cannot be written");
    }
    auto block = map_block(file.value().get());
    if (!block) {
        return unusable(path, "the file of the stop cannot be mapped");
    }
    if (block->format == format && block->phase != StopPhase::idle) {
        end_stop(*block);
    }
    new (block.get()) StopBlock{};
    block->format = format;
    return StopFile(std::move(file.value()), std::move(block));
}

} // namespace hotpatch::engine
