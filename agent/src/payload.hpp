// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// A payload after its signature was verified and its content checked: plain data, docs/payload.md says what each field means.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace hotpatch {

using Bytes = std::vector<std::uint8_t>;
using Sha256 = std::array<std::uint8_t, 32>;

struct Target {
    std::string name;
    Sha256 sha256{};
    std::uint64_t size = 0;
    std::uint32_t checksum = 0;
    std::uint32_t timestamp = 0;
    std::uint32_t image_size = 0;
};

enum class Protection : std::uint8_t { read_execute, read, read_write };

struct Section {
    std::uint32_t offset = 0;
    std::uint32_t size = 0;
    Protection protection{};
    Bytes data;
};

enum class FixupKind : std::uint8_t { rel32, abs64 };
enum class FixupBase : std::uint8_t { target, region };

struct Fixup {
    std::uint32_t offset = 0;
    FixupKind kind{};
    FixupBase base{};
    std::uint32_t value = 0;
    std::int32_t addend = 0;
};

struct UnwindEntry {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    std::uint32_t info = 0;
};

enum class Redirect : std::uint8_t { short_jump, near_jump };
enum class Quiescence : std::uint8_t { entry, functions };

struct Function {
    std::string name;
    std::uint32_t rva = 0;
    std::uint32_t length = 0;
    Bytes expected;
    std::uint32_t entry = 0;
    Redirect redirect{};
    Bytes padding;
    std::uint32_t overwrite = 0;
};

struct Payload {
    Sha256 file_sha256{}; // of the whole signed file: its name in the store
    std::string key_id;   // hex of the signing key's id
    std::string id;
    std::uint64_t sequence = 0;
    std::uint64_t created = 0;
    std::uint64_t expires = 0;
    std::string title;
    std::vector<std::string> cves;
    std::vector<std::string> replaces;
    Quiescence quiescence{};
    Target target;
    std::uint32_t region_size = 0;
    std::vector<Section> sections;
    std::vector<Fixup> fixups;
    std::vector<UnwindEntry> unwind;
    std::vector<Function> functions;
};

} // namespace hotpatch
