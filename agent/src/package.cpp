// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "package.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <span>
#include <string_view>
#include <vector>

#include <windows.h>

#include "handle.hpp"
#include "payload.hpp"
#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

constexpr std::array<std::uint8_t, 8> wim_signature{'M', 'S', 'W', 'I', 'M', 0, 0, 0};
constexpr std::array<std::uint8_t, 4> cabinet_signature{'M', 'S', 'C', 'F'};

// [MS-CAB] 2.1 to 2.4: sizes of the structures and where their fields are.
constexpr std::size_t header_size = 36;
constexpr std::size_t cabinet_size_at = 8;
constexpr std::size_t first_file_at = 16;
constexpr std::size_t folder_count_at = 26;
constexpr std::size_t file_count_at = 28;
constexpr std::size_t flags_at = 30;
constexpr std::uint64_t flag_previous = 1;
constexpr std::uint64_t flag_next = 2;
constexpr std::uint64_t flag_reserve = 4;
constexpr std::size_t folder_size = 8;
constexpr std::size_t block_count_at = 4;
constexpr std::size_t file_size = 16; // without the name
constexpr std::size_t block_header_size = 8;
constexpr std::size_t block_data_at = 4;  // size of the data, then its size when expanded; both are in the checksum
constexpr std::size_t longest_name = 257; // with its end

std::uint64_t little_endian(std::span<const std::uint8_t> bytes, std::size_t at, std::size_t width) {
    std::uint64_t value = 0;
    for (std::size_t byte = width; byte-- > 0;) {
        value = (value << 8U) | bytes[at + byte];
    }
    return value;
}

// [MS-CAB] 3.1: words exclusive-or'ed; a rest of up to three bytes counts with its first byte highest.
std::uint32_t checksum(std::span<const std::uint8_t> bytes, std::uint32_t sum) {
    while (bytes.size() >= 4) {
        sum ^= static_cast<std::uint32_t>(little_endian(bytes, 0, 4));
        bytes = bytes.subspan(4);
    }
    std::uint32_t rest = 0;
    for (const std::uint8_t byte : bytes) {
        rest = (rest << 8U) | byte;
    }
    return sum ^ rest;
}

bool holds_update(std::string_view name) {
    std::string lower(name);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return lower.ends_with(".cab") || lower.ends_with(".wim") || lower.ends_with(".psf");
}

class Package {
public:
    Package(unique_handle file, std::uint64_t size, std::string where)
        : file_(std::move(file)), size_(size), where_(std::move(where)) {}

    Status check() {
        const auto start = read(0, std::min<std::uint64_t>(size_, header_size));
        if (!start) {
            return start.error();
        }
        if (begins_with(start.value(), wim_signature)) {
            return Unit{};
        }
        if (!begins_with(start.value(), cabinet_signature) || start.value().size() < header_size) {
            return damaged("it is neither a cabinet nor a WIM");
        }
        return check_cabinet(start.value());
    }

private:
    template <std::size_t N> static bool begins_with(const Bytes &bytes, const std::array<std::uint8_t, N> &signature) {
        return bytes.size() >= N && std::equal(signature.begin(), signature.end(), bytes.begin());
    }

    [[nodiscard]] Error damaged(std::string_view why) const {
        return Error{Code::package_damaged, "The package is damaged: " + std::string(why), where_, 0};
    }

    // Exactly that part of the file.
    Result<Bytes> read(std::uint64_t at, std::uint64_t count) {
        if (at > size_ || count > size_ - at) {
            return damaged("it is cut off");
        }
        LARGE_INTEGER position{};
        position.QuadPart = static_cast<LONGLONG>(at);
        Bytes bytes(static_cast<std::size_t>(count));
        DWORD have = 0;
        if (SetFilePointerEx(file_.get(), position, nullptr, FILE_BEGIN) == FALSE ||
            ReadFile(file_.get(), bytes.data(), static_cast<DWORD>(bytes.size()), &have, nullptr) == FALSE) {
            return last_error(Code::agent_internal, "The package cannot be read", where_);
        }
        return have == bytes.size() ? Result<Bytes>(std::move(bytes)) : Result<Bytes>(damaged("it is cut off"));
    }

    Status check_cabinet(const Bytes &header) {
        if (little_endian(header, cabinet_size_at, 4) > size_) { // a signature may follow the cabinet, so it may be smaller
            return damaged("it is shorter than its header says");
        }
        const std::uint64_t flags = little_endian(header, flags_at, 2);
        if ((flags & (flag_previous | flag_next)) != 0) {
            return damaged("it is one part of several");
        }
        if (auto status = check_files(header); !status) {
            return status;
        }
        std::uint64_t folders_at = header_size;
        std::uint64_t folder_reserve = 0;
        if ((flags & flag_reserve) != 0) {
            const auto reserve = read(header_size, 4);
            if (!reserve) {
                return reserve.error();
            }
            folders_at += 4 + little_endian(reserve.value(), 0, 2);
            folder_reserve = reserve.value()[2];
            block_reserve_ = reserve.value()[3];
        }
        return check_folders(folders_at, folder_reserve, little_endian(header, folder_count_at, 2));
    }

    Status check_files(const Bytes &header) {
        std::uint64_t at = little_endian(header, first_file_at, 4);
        bool found = false;
        for (std::uint64_t left = little_endian(header, file_count_at, 2); left > 0; --left) {
            const auto entry = read(at, std::min<std::uint64_t>(file_size + longest_name, size_ - std::min(at, size_)));
            if (!entry) {
                return entry.error();
            }
            const auto name = std::span(entry.value()).subspan(std::min(file_size, entry.value().size()));
            const auto end = std::find(name.begin(), name.end(), std::uint8_t{0});
            if (end == name.end()) {
                return damaged("its directory is cut off");
            }
            const auto length = static_cast<std::size_t>(end - name.begin());
            found = found || holds_update({reinterpret_cast<const char *>(name.data()), length});
            at += file_size + length + 1;
        }
        return found ? Status(Unit{}) : Status(damaged("it holds no update"));
    }

    Status check_folders(std::uint64_t at, std::uint64_t reserve, std::uint64_t count) {
        for (; count > 0; --count) {
            const auto folder = read(at, folder_size);
            if (!folder) {
                return folder.error();
            }
            if (auto status = check_blocks(little_endian(folder.value(), 0, 4), little_endian(folder.value(), block_count_at, 2));
                !status) {
                return status;
            }
            at += folder_size + reserve;
        }
        return Unit{};
    }

    Status check_blocks(std::uint64_t at, std::uint64_t count) {
        for (; count > 0; --count) {
            const auto header = read(at, block_header_size + block_reserve_);
            if (!header) {
                return header.error();
            }
            const auto data = read(at + header.value().size(), little_endian(header.value(), block_data_at, 2));
            if (!data) {
                return data.error();
            }
            const auto expected = static_cast<std::uint32_t>(little_endian(header.value(), 0, 4));
            const std::uint32_t found = checksum(std::span(header.value()).subspan(block_data_at), checksum(data.value(), 0));
            if (expected != 0 && expected != found) { // 0: the cabinet carries no checksums
                return damaged("its data does not have the checksum it carries");
            }
            at += header.value().size() + data.value().size();
        }
        return Unit{};
    }

    unique_handle file_;
    std::uint64_t size_;
    std::string where_;
    std::uint64_t block_reserve_ = 0;
};

} // namespace

Status check_package(const std::wstring &path) {
    unique_handle file(
        CreateFileW(path.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr, OPEN_EXISTING, 0, nullptr));
    LARGE_INTEGER size{};
    if (!file || GetFileSizeEx(file.get(), &size) == FALSE) {
        return last_error(Code::agent_internal, "The package cannot be read", to_utf8(path));
    }
    return Package(std::move(file), static_cast<std::uint64_t>(size.QuadPart), to_utf8(path)).check();
}

} // namespace hotpatch
