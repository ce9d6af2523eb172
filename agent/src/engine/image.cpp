// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/image.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <bcrypt.h>

#include "handle.hpp"
#include "text.hpp"

namespace hotpatch::engine {

namespace {

constexpr std::uint64_t largest_file = 512ULL * 1024 * 1024;
constexpr std::size_t compare_chunk = 64 * 1024;

// A structure of the file at an offset, or nothing when it would reach past the end.
template <typename T> std::optional<T> at(std::span<const std::uint8_t> bytes, std::uint64_t offset) {
    if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) {
        return std::nullopt;
    }
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

Result<Bytes> read_file(const std::wstring &path) {
    const unique_handle file(CreateFileW(path.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                                         nullptr, OPEN_EXISTING, FILE_FLAG_SEQUENTIAL_SCAN, nullptr));
    LARGE_INTEGER size{};
    if (!file || !GetFileSizeEx(file.get(), &size) || static_cast<std::uint64_t>(size.QuadPart) > largest_file) {
        return Error{Code::target_file_changed, "the module's file cannot be read", to_utf8(path), GetLastError()};
    }
    Bytes bytes(static_cast<std::size_t>(size.QuadPart));
    DWORD done = 0;
    if (!ReadFile(file.get(), bytes.data(), static_cast<DWORD>(bytes.size()), &done, nullptr) || done != bytes.size()) {
        return Error{Code::target_file_changed, "the module's file cannot be read", to_utf8(path), GetLastError()};
    }
    return bytes;
}

Range directory(const IMAGE_NT_HEADERS64 &headers, std::uint32_t index) {
    if (index >= headers.OptionalHeader.NumberOfRvaAndSizes) {
        return {};
    }
    const auto &entry = headers.OptionalHeader.DataDirectory[index];
    return {entry.VirtualAddress, std::uint64_t{entry.VirtualAddress} + entry.Size};
}

bool parse_sections(ImageFile &image, std::uint64_t first, unsigned count) {
    for (unsigned index = 0; index < count; ++index) {
        const auto header = at<IMAGE_SECTION_HEADER>(image.bytes, first + index * sizeof(IMAGE_SECTION_HEADER));
        if (!header) {
            return false;
        }
        const std::uint32_t size = header->Misc.VirtualSize != 0 ? header->Misc.VirtualSize : header->SizeOfRawData;
        const auto raw = std::min<std::uint32_t>(header->SizeOfRawData, size);
        if (std::uint64_t{header->VirtualAddress} + size > image.image_size ||
            std::uint64_t{header->PointerToRawData} + raw > image.bytes.size()) {
            return false;
        }
        image.sections.push_back({header->VirtualAddress, size, header->PointerToRawData, raw,
                                  (header->Characteristics & IMAGE_SCN_MEM_EXECUTE) != 0});
    }
    return true;
}

bool parse(ImageFile &image) {
    const auto dos = at<IMAGE_DOS_HEADER>(image.bytes, 0);
    if (!dos || dos->e_magic != IMAGE_DOS_SIGNATURE || dos->e_lfanew < 0) {
        return false;
    }
    const auto start = static_cast<std::uint64_t>(dos->e_lfanew);
    const auto headers = at<IMAGE_NT_HEADERS64>(image.bytes, start);
    if (!headers || headers->Signature != IMAGE_NT_SIGNATURE || headers->FileHeader.Machine != IMAGE_FILE_MACHINE_AMD64 ||
        headers->OptionalHeader.Magic != IMAGE_NT_OPTIONAL_HDR64_MAGIC) {
        return false;
    }
    image.preferred_base = headers->OptionalHeader.ImageBase;
    image.timestamp = headers->FileHeader.TimeDateStamp;
    image.checksum = headers->OptionalHeader.CheckSum;
    image.image_size = headers->OptionalHeader.SizeOfImage;
    image.relocations = directory(*headers, IMAGE_DIRECTORY_ENTRY_BASERELOC);
    image.import_table = directory(*headers, IMAGE_DIRECTORY_ENTRY_IAT);
    const auto first_section = start + offsetof(IMAGE_NT_HEADERS64, OptionalHeader) + headers->FileHeader.SizeOfOptionalHeader;
    return parse_sections(image, first_section, headers->FileHeader.NumberOfSections);
}

// The file's bytes at an RVA, as many as lie in one section.
std::span<const std::uint8_t> bytes_at(const ImageFile &image, std::uint64_t rva) {
    for (const auto &section : image.sections) {
        if (rva >= section.rva && rva < std::uint64_t{section.rva} + section.file_size) {
            const auto skip = rva - section.rva;
            return std::span(image.bytes).subspan(section.file_offset + skip, section.file_size - skip);
        }
    }
    return {};
}

// One section as the loader lays it out.
struct LaidOut {
    std::uint32_t rva = 0;
    Bytes bytes;

    void relocate(std::uint64_t fixup, std::size_t width, std::uint64_t delta) {
        if (fixup < rva || fixup + width > rva + bytes.size()) {
            return;
        }
        std::uint64_t value = 0;
        std::memcpy(&value, bytes.data() + (fixup - rva), width);
        value += delta;
        std::memcpy(bytes.data() + (fixup - rva), &value, width);
    }
};

void relocate(LaidOut &section, const ImageFile &image, std::uint64_t delta) {
    const auto table = bytes_at(image, image.relocations.begin)
                           .first(std::min<std::size_t>(bytes_at(image, image.relocations.begin).size(),
                                                        image.relocations.end - image.relocations.begin));
    for (std::size_t offset = 0; offset < table.size();) {
        const auto block = at<IMAGE_BASE_RELOCATION>(table, offset);
        if (!block || block->SizeOfBlock < sizeof(IMAGE_BASE_RELOCATION) || block->SizeOfBlock > table.size() - offset) {
            return;
        }
        for (std::size_t place = sizeof(IMAGE_BASE_RELOCATION); place + 2 <= block->SizeOfBlock; place += 2) {
            std::uint16_t entry = 0;
            std::memcpy(&entry, table.data() + offset + place, sizeof entry);
            const auto type = entry >> 12;
            if (type == IMAGE_REL_BASED_DIR64 || type == IMAGE_REL_BASED_HIGHLOW) {
                section.relocate(std::uint64_t{block->VirtualAddress} + (entry & 0xFFFU), type == IMAGE_REL_BASED_DIR64 ? 8 : 4,
                                 delta);
            }
        }
        offset += block->SizeOfBlock;
    }
}

LaidOut lay_out(const ImageFile &image, const ImageSection &section, std::uint64_t base) {
    LaidOut laid{section.rva, Bytes(section.size)};
    std::copy_n(image.bytes.begin() + section.file_offset, section.file_size, laid.bytes.begin());
    if (base != image.preferred_base) {
        relocate(laid, image, base - image.preferred_base);
    }
    return laid;
}

bool is_masked(std::uint64_t rva, const ImageFile &image, std::span<const Range> masked) {
    return image.import_table.contains(rva) ||
           std::any_of(masked.begin(), masked.end(), [rva](const Range &range) { return range.contains(rva); });
}

} // namespace

Result<Sha256> sha256(std::span<const std::uint8_t> bytes) {
    BCRYPT_ALG_HANDLE algorithm = nullptr;
    BCRYPT_HASH_HANDLE hash = nullptr;
    Sha256 digest{};
    NTSTATUS status = BCryptOpenAlgorithmProvider(&algorithm, BCRYPT_SHA256_ALGORITHM, nullptr, 0);
    if (status >= 0) {
        status = BCryptCreateHash(algorithm, &hash, nullptr, 0, nullptr, 0, 0);
    }
    if (status >= 0) { // const_cast: the call only reads, its prototype does not say so
        status = BCryptHashData(hash, const_cast<PUCHAR>(bytes.data()), static_cast<ULONG>(bytes.size()), 0);
    }
    if (status >= 0) {
        status = BCryptFinishHash(hash, digest.data(), static_cast<ULONG>(digest.size()), 0);
    }
    if (hash != nullptr) {
        BCryptDestroyHash(hash);
    }
    if (algorithm != nullptr) {
        BCryptCloseAlgorithmProvider(algorithm, 0);
    }
    if (status < 0) {
        return Error{Code::agent_internal, "SHA-256 is not available", "", static_cast<std::uint32_t>(status)};
    }
    return digest;
}

Result<ImageFile> read_image(const std::wstring &path) {
    auto bytes = read_file(path);
    if (!bytes.ok()) {
        return bytes.error();
    }
    ImageFile image;
    image.bytes = std::move(bytes.value());
    auto digest = sha256(image.bytes);
    if (!digest.ok()) {
        return digest.error();
    }
    image.sha256 = digest.value();
    if (!parse(image)) {
        return Error{Code::target_module_mismatch, "the module's file is not a 64-bit PE file", to_utf8(path), 0};
    }
    return image;
}

Result<std::shared_ptr<const ImageFile>> ImageCache::get(const std::wstring &path) {
    WIN32_FILE_ATTRIBUTE_DATA facts{};
    if (!GetFileAttributesExW(path.c_str(), GetFileExInfoStandard, &facts)) {
        return Error{Code::target_file_changed, "the module's file cannot be found", to_utf8(path), GetLastError()};
    }
    const auto size = (std::uint64_t{facts.nFileSizeHigh} << 32) | facts.nFileSizeLow;
    const auto written = (std::uint64_t{facts.ftLastWriteTime.dwHighDateTime} << 32) | facts.ftLastWriteTime.dwLowDateTime;
    const auto known = images_.find(path);
    if (known != images_.end() && known->second.size == size && known->second.written == written) {
        return known->second.image;
    }
    auto image = read_image(path);
    if (!image.ok()) {
        return image.error();
    }
    auto shared = std::make_shared<const ImageFile>(std::move(image.value()));
    images_[path] = {size, written, shared};
    return std::shared_ptr<const ImageFile>(shared);
}

std::optional<LoadedHeader> read_loaded_header(HANDLE process, std::uint64_t base) {
    const auto dos = read_value<IMAGE_DOS_HEADER>(process, base);
    if (!dos || dos->e_magic != IMAGE_DOS_SIGNATURE || dos->e_lfanew < 0 || dos->e_lfanew > 0x1000) {
        return std::nullopt;
    }
    const auto headers = read_value<IMAGE_NT_HEADERS64>(process, base + static_cast<std::uint64_t>(dos->e_lfanew));
    if (!headers || headers->Signature != IMAGE_NT_SIGNATURE || headers->OptionalHeader.Magic != IMAGE_NT_OPTIONAL_HDR64_MAGIC) {
        return std::nullopt;
    }
    return LoadedHeader{headers->FileHeader.TimeDateStamp, headers->OptionalHeader.CheckSum, headers->OptionalHeader.SizeOfImage};
}

Result<std::optional<std::uint32_t>> compare_code(HANDLE process, std::uint64_t base, const ImageFile &image,
                                                  std::span<const Range> masked) {
    Bytes memory(compare_chunk);
    for (const auto &section : image.sections) {
        if (!section.executable) {
            continue;
        }
        const auto expected = lay_out(image, section, base);
        for (std::size_t offset = 0; offset < expected.bytes.size(); offset += compare_chunk) {
            const auto length = std::min(compare_chunk, expected.bytes.size() - offset);
            const auto actual = std::span(memory).first(length);
            if (!read_memory(process, base + section.rva + offset, actual)) {
                return Error{Code::target_module_unloaded, "", hex(base + section.rva + offset), GetLastError()};
            }
            for (auto difference =
                     std::mismatch(actual.begin(), actual.end(), expected.bytes.begin() + static_cast<std::ptrdiff_t>(offset));
                 difference.first != actual.end();
                 difference = std::mismatch(difference.first + 1, actual.end(), difference.second + 1)) {
                const auto rva = section.rva + offset + static_cast<std::size_t>(difference.first - actual.begin());
                if (!is_masked(rva, image, masked)) {
                    return std::optional(static_cast<std::uint32_t>(rva));
                }
            }
        }
    }
    return std::optional<std::uint32_t>{};
}

} // namespace hotpatch::engine
