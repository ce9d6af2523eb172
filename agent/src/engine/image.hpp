// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// A module's file: its identity, and whether the code in a process' memory is the code of the file.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <windows.h>

#include "engine/memory.hpp"
#include "payload.hpp"
#include "result.hpp"

namespace hotpatch::engine {

[[nodiscard]] Result<Sha256> sha256(std::span<const std::uint8_t> bytes);

struct ImageSection {
    std::uint32_t rva = 0;
    std::uint32_t size = 0;
    std::uint32_t file_offset = 0;
    std::uint32_t file_size = 0;
    bool executable = false;
};

// A PE32+ file, parsed; every offset in it was checked against the file's size.
struct ImageFile {
    Bytes bytes;
    Sha256 sha256{};
    std::uint64_t preferred_base = 0;
    std::uint32_t timestamp = 0, checksum = 0, image_size = 0;
    std::vector<ImageSection> sections;
    Range relocations;  // RVAs of the base relocation directory
    Range import_table; // RVAs of the import address table, which the loader fills and old linkers put next to code
};

// target_module_mismatch when the file is not a 64-bit PE file, target_file_changed when it cannot be read.
[[nodiscard]] Result<ImageFile> read_image(const std::wstring &path);

// The same, remembered while path, size and time of the last write stay as they were: a host has many processes of few modules.
class ImageCache {
public:
    [[nodiscard]] Result<std::shared_ptr<const ImageFile>> get(const std::wstring &path);
    void clear() { images_.clear(); }

private:
    struct Entry {
        std::uint64_t size = 0, written = 0;
        std::shared_ptr<const ImageFile> image;
    };
    std::map<std::wstring, Entry> images_;
};

// Identity fields of the headers as they stand in a process' memory.
struct LoadedHeader {
    std::uint32_t timestamp = 0, checksum = 0, image_size = 0;
};
[[nodiscard]] std::optional<LoadedHeader> read_loaded_header(HANDLE process, std::uint64_t base);

// Compares every executable section, relocated to `base`, with the memory of the process, but for the RVAs in `masked`.
// The first RVA that differs; nothing when all is equal. target_module_unloaded when memory cannot be read.
[[nodiscard]] Result<std::optional<std::uint32_t>> compare_code(HANDLE process, std::uint64_t base, const ImageFile &image,
                                                                std::span<const Range> masked);

} // namespace hotpatch::engine
