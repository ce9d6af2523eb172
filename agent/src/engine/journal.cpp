// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/journal.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/faults.hpp"
#include "engine/state_file.hpp"
#include "text.hpp"

namespace hotpatch::engine {

namespace {

constexpr std::array<std::uint8_t, 8> file_header{'H', 'P', 'J', '1', 0, 0, 0, 0};
constexpr std::array<std::uint8_t, 4> record_mark{'H', 'P', 'J', 'R'};
constexpr std::size_t frame = 12; // mark, length, checksum
constexpr std::uint32_t largest_body = 16 << 20;
constexpr std::uint64_t slack = 256 * 1024; // closed records that may lie about before the file is rewritten

constexpr std::array<std::uint32_t, 256> make_crc_table() {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t index = 0; index < table.size(); ++index) {
        std::uint32_t value = index;
        for (int bit = 0; bit < 8; ++bit) {
            value = (value >> 1) ^ ((value & 1) != 0 ? 0x82F63B78U : 0U); // CRC-32C, reflected polynomial
        }
        table[index] = value;
    }
    return table;
}

constexpr auto crc_table = make_crc_table();

std::uint32_t crc32c(std::span<const std::uint8_t> bytes) {
    std::uint32_t value = ~0U;
    for (const auto byte : bytes) {
        value = (value >> 8) ^ crc_table[(value ^ byte) & 0xFF];
    }
    return ~value;
}

void put_u32(Bytes &bytes, std::uint32_t value) {
    for (unsigned shift = 0; shift < 32; shift += 8) {
        bytes.push_back(static_cast<std::uint8_t>(value >> shift));
    }
}

std::uint32_t get_u32(std::span<const std::uint8_t> bytes, std::size_t offset) {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

Bytes framed(const Patch &patch) {
    const auto body = encode(patch);
    Bytes record(record_mark.begin(), record_mark.end());
    put_u32(record, static_cast<std::uint32_t>(body.size()));
    record.insert(record.end(), body.begin(), body.end());
    put_u32(record, crc32c(std::span(record).subspan(record_mark.size())));
    return record;
}

// The body of the valid record at the start of the bytes, or nothing.
std::optional<std::span<const std::uint8_t>> body_at(std::span<const std::uint8_t> bytes) {
    if (bytes.size() < frame || !std::equal(record_mark.begin(), record_mark.end(), bytes.begin())) {
        return std::nullopt;
    }
    const auto length = get_u32(bytes, record_mark.size());
    if (length > largest_body || bytes.size() - frame < length) {
        return std::nullopt;
    }
    const auto checked = bytes.subspan(record_mark.size(), sizeof(std::uint32_t) + length);
    if (crc32c(checked) != get_u32(bytes, frame - sizeof(std::uint32_t) + length)) {
        return std::nullopt;
    }
    return checked.subspan(sizeof(std::uint32_t));
}

bool has_valid_record(std::span<const std::uint8_t> bytes) {
    for (auto place = bytes.begin();; ++place) {
        place = std::search(place, bytes.end(), record_mark.begin(), record_mark.end());
        if (place == bytes.end()) {
            return false;
        }
        if (body_at(bytes.subspan(static_cast<std::size_t>(place - bytes.begin())))) {
            return true;
        }
    }
}

// An engine that was killed a moment ago may still be being cleaned up; one that works keeps the file far longer.
constexpr DWORD open_wait_ms = 2000;

std::optional<Bytes> read_all(HANDLE file) {
    LARGE_INTEGER size{};
    if (!GetFileSizeEx(file, &size) || size.QuadPart > (LONGLONG{1} << 31)) {
        return std::nullopt;
    }
    Bytes bytes(static_cast<std::size_t>(size.QuadPart));
    DWORD done = 0;
    if (!ReadFile(file, bytes.data(), static_cast<DWORD>(bytes.size()), &done, nullptr) || done != bytes.size()) {
        return std::nullopt;
    }
    return bytes;
}

} // namespace

Result<Journal> Journal::open(const std::wstring &path) {
    auto file = open_state_file(path, OPEN_ALWAYS, open_wait_ms);
    if (!file.ok()) {
        return file.error();
    }
    Journal journal(path, std::move(file.value()));
    if (auto status = journal.replay(); !status.ok()) {
        return status.error();
    }
    return journal;
}

Status Journal::replay() {
    const auto bytes = read_all(file_.get());
    if (!bytes) {
        return unusable(path_, "the journal cannot be read");
    }
    const auto head = std::min(bytes->size(), file_header.size());
    if (!std::equal(bytes->begin(), bytes->begin() + static_cast<std::ptrdiff_t>(head), file_header.begin())) {
        return Error{Code::journal_damaged, "this is not a journal", to_utf8(path_), 0};
    }
    if (head < file_header.size()) { // new, or torn while it was made
        size_ = file_header.size();
        return cut(file_.get(), 0) && write_through(file_.get(), file_header) ? Status(Unit{})
                                                                              : unusable(path_, "the journal cannot be written");
    }
    std::span rest(*bytes);
    for (rest = rest.subspan(head); !rest.empty();) {
        const auto body = body_at(rest);
        const auto patch = body ? decode(*body) : std::nullopt;
        if (!patch) {
            break;
        }
        remember(*patch);
        rest = rest.subspan(frame + body->size());
    }
    size_ = bytes->size() - rest.size();
    if (!rest.empty() && (body_at(rest) || has_valid_record(rest.subspan(1)))) {
        return Error{Code::journal_damaged, "", to_utf8(path_) + " at byte " + std::to_string(size_), 0};
    }
    return cut(file_.get(), size_) ? Status(Unit{}) : unusable(path_, "the journal's torn end cannot be cut");
}

void Journal::remember(const Patch &patch) {
    next_ = std::max(next_, patch.transaction + 1);
    if (patch.phase == Phase::closed) {
        patches_.erase(patch.transaction);
    } else {
        patches_[patch.transaction] = patch;
    }
}

Status Journal::append(const Patch &patch) {
    const auto bytes = framed(patch);
    if (!write_through(file_.get(), bytes)) {
        auto failure = unusable(path_, "the journal cannot be written");
        (void)cut(file_.get(), size_); // half a record must not stand before the next one
        return failure;
    }
    size_ += bytes.size();
    return Unit{};
}

Status Journal::append_late() {
    while (!late_.empty()) {
        if (auto status = append(late_.begin()->second); !status.ok()) {
            return status;
        }
        late_.erase(late_.begin());
    }
    return Unit{};
}

Status Journal::record(const Patch &patch) {
    fault_point("before record");
    if (auto status = append_late(); !status.ok()) {
        return status;
    }
    if (auto status = append(patch); !status.ok()) {
        return status;
    }
    remember(patch);
    fault_point("after record");
    return Unit{};
}

Status Journal::conclude(const Patch &patch) {
    auto status = record(patch);
    if (!status.ok()) {
        remember(patch);
        late_[patch.transaction] = patch;
    }
    return status;
}

Status Journal::compact() {
    if (auto status = append_late(); !status.ok()) {
        return status;
    }
    Bytes bytes(file_header.begin(), file_header.end());
    for (const auto &[transaction, patch] : patches_) {
        const auto record = framed(patch);
        bytes.insert(bytes.end(), record.begin(), record.end());
    }
    if (size_ < bytes.size() + slack) {
        return Unit{};
    }
    const auto fresh_path = path_ + L".new";
    {
        const auto fresh = open_state_file(fresh_path, CREATE_ALWAYS, 0);
        if (!fresh.ok()) {
            return fresh.error();
        }
        if (!write_through(fresh.value().get(), bytes)) {
            return unusable(fresh_path, "the journal cannot be rewritten");
        }
    }
    fault_point("journal rewritten");
    file_ = unique_handle();
    const bool moved = MoveFileExW(fresh_path.c_str(), path_.c_str(), MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH);
    fault_point("journal replaced");
    auto again = open_state_file(path_, OPEN_EXISTING, 0);
    if (!again.ok()) {
        return again.error();
    }
    file_ = std::move(again.value());
    LARGE_INTEGER end{};
    if (!SetFilePointerEx(file_.get(), {}, &end, FILE_END)) {
        return unusable(path_, "the journal cannot be opened again");
    }
    size_ = static_cast<std::uint64_t>(end.QuadPart);
    return moved ? Status(Unit{}) : unusable(path_, "the journal cannot be replaced");
}

} // namespace hotpatch::engine
