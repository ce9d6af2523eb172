// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "store.hpp"

#include <algorithm>
#include <string_view>

#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

constexpr std::wstring_view incoming_suffix = L".incoming";

// What a killed transfer left. A transfer that still runs has its file open without sharing, so it cannot be removed.
void sweep(const Paths &paths) {
    for (const Entry &entry : list_folder(paths.store())) {
        if (entry.name.ends_with(incoming_suffix)) {
            DeleteFileW((paths.store() + L"\\" + entry.name).c_str());
        }
    }
}

Status reserve(HANDLE file, std::uint64_t size, const std::wstring &path) {
    LARGE_INTEGER position{};
    position.QuadPart = static_cast<LONGLONG>(size);
    const LARGE_INTEGER start{};
    if (SetFilePointerEx(file, position, nullptr, FILE_BEGIN) == FALSE || SetEndOfFile(file) == FALSE ||
        SetFilePointerEx(file, start, nullptr, FILE_BEGIN) == FALSE) {
        const DWORD number = GetLastError();
        return windows_error(code_of_write_error(number), "There is no room for the file", to_utf8(path), number);
    }
    return Unit{};
}

Error mismatch(std::string message) {
    return Error{Code::store_hash_mismatch, std::move(message), {}, 0};
}

} // namespace

std::optional<std::uint64_t> Store::size_of(const Sha256 &hash) const {
    WIN32_FILE_ATTRIBUTE_DATA data{};
    if (GetFileAttributesExW(paths_.object(hash).c_str(), GetFileExInfoStandard, &data) == FALSE) {
        return std::nullopt;
    }
    return (static_cast<std::uint64_t>(data.nFileSizeHigh) << 32U) | data.nFileSizeLow;
}

Result<Bytes> Store::read(const Sha256 &hash, std::uint64_t limit) const {
    const std::wstring path = paths_.object(hash);
    auto content = read_file(path, limit);
    if (!content) {
        return content.error();
    }
    if (!content.value()) {
        return Error{Code::store_object_missing, "The host's store does not hold " + to_hex(hash), to_utf8(path), 0};
    }
    const auto found = sha256(*content.value());
    if (!found) {
        return found.error();
    }
    if (found.value() != hash) {
        return Error{Code::store_damaged, "A file in the store is not what its name says", to_utf8(path), 0};
    }
    return std::move(*content.value());
}

Result<bool> Store::remove(const Sha256 &hash) const {
    return remove_file(paths_.object(hash));
}

std::uint64_t Store::total_bytes() const {
    std::uint64_t total = 0;
    for (const Entry &entry : list_folder(paths_.store())) {
        total += entry.size;
    }
    return total;
}

Result<StoreWriter> StoreWriter::begin(const Paths &paths, const Sha256 &expected, std::optional<std::uint64_t> size) {
    sweep(paths);
    const auto unique = random_uuid();
    auto hasher = Sha256Hasher::create();
    if (!unique || !hasher) {
        return unique ? hasher.error() : unique.error();
    }
    if (size && *size > free_bytes(paths)) {
        return Error{Code::store_disk_full,
                     "The file needs " + std::to_string(*size) + " bytes, the disk has " + std::to_string(free_bytes(paths)),
                     to_utf8(paths.store()), 0};
    }
    std::wstring temporary = paths.store() + L"\\" + to_wide(unique.value()) + std::wstring(incoming_suffix);
    unique_handle file(CreateFileW(temporary.c_str(), GENERIC_WRITE, 0, nullptr, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, nullptr));
    if (!file) {
        const DWORD number = GetLastError();
        return windows_error(code_of_write_error(number), "The store cannot be written", to_utf8(temporary), number);
    }
    StoreWriter writer(paths, expected, size, temporary, std::move(file), std::move(hasher).value());
    if (size) {
        if (const auto status = reserve(writer.file_.get(), *size, temporary); !status) {
            return status.error();
        }
    }
    return writer;
}

StoreWriter::~StoreWriter() {
    if (file_) {
        file_.reset();
        DeleteFileW(temporary_.c_str());
    }
}

Status StoreWriter::write(std::span<const std::uint8_t> bytes) {
    if (size_ && bytes.size() > *size_ - written_) {
        return mismatch("The file is longer than the " + std::to_string(*size_) + " bytes that were announced");
    }
    if (auto status = write_all(file_.get(), bytes, temporary_); !status) {
        return status;
    }
    hasher_.update(bytes);
    written_ += bytes.size();
    return Unit{};
}

Result<StoredObject> StoreWriter::commit() {
    if (size_ && written_ != *size_) {
        return mismatch("The file ended after " + std::to_string(written_) + " of " + std::to_string(*size_) + " bytes");
    }
    const auto found = hasher_.finish();
    if (!found) {
        return found.error();
    }
    if (found.value() != expected_) {
        return mismatch("The file's SHA-256 is " + to_hex(found.value()) + ", expected was " + to_hex(expected_));
    }
    if (FlushFileBuffers(file_.get()) == FALSE) {
        const DWORD number = GetLastError();
        return windows_error(code_of_write_error(number), "The store cannot be written", to_utf8(temporary_), number);
    }
    const std::wstring path = paths_.object(expected_);
    const bool changed = !file_exists(path);
    file_.reset();
    if (const auto status = move_file(temporary_, path); !status) {
        DeleteFileW(temporary_.c_str());
        return status.error();
    }
    return StoredObject{expected_, written_, changed};
}

Result<StoredObject> import_into_store(const Paths &paths, const std::wstring &path, const Sha256 &expected, std::uint64_t size) {
    const unique_handle source(CreateFileW(path.c_str(), GENERIC_READ | DELETE, FILE_SHARE_READ, nullptr, OPEN_EXISTING,
                                           FILE_FLAG_SEQUENTIAL_SCAN, nullptr));
    if (!source) {
        return last_error(Code::argument_invalid, "The file to import cannot be opened", to_utf8(path));
    }
    auto writer = StoreWriter::begin(paths, expected, size);
    if (!writer) {
        return writer.error();
    }
    // Copied and not renamed: a renamed file would keep the access list of the folder it comes from.
    std::vector<std::uint8_t> buffer(std::size_t{1} << 18U);
    for (;;) {
        DWORD have = 0;
        if (ReadFile(source.get(), buffer.data(), static_cast<DWORD>(buffer.size()), &have, nullptr) == FALSE) {
            return last_error(Code::agent_internal, "The file to import cannot be read", to_utf8(path));
        }
        if (have == 0) {
            break;
        }
        if (const auto status = writer.value().write(std::span(buffer).first(have)); !status) {
            return status.error();
        }
    }
    auto stored = writer.value().commit();
    if (stored) {
        FILE_DISPOSITION_INFO disposition{TRUE};
        SetFileInformationByHandle(source.get(), FileDispositionInfo, &disposition, sizeof disposition);
    }
    return stored;
}

} // namespace hotpatch
