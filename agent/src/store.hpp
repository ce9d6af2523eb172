// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The content-addressed store: a file is there under its SHA-256, whole and checked, or it is not there.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "crypto.hpp"
#include "files.hpp"
#include "result.hpp"

namespace hotpatch {

struct StoredObject {
    Sha256 sha256{};
    std::uint64_t size = 0;
    bool changed = false; // false: it was there before
};

class Store {
public:
    explicit Store(Paths paths) : paths_(std::move(paths)) {}

    [[nodiscard]] std::optional<std::uint64_t> size_of(const Sha256 &hash) const;
    // Reads and hashes again: store_object_missing, or store_damaged when the bytes are no longer those of its name.
    [[nodiscard]] Result<Bytes> read(const Sha256 &hash, std::uint64_t limit) const;
    [[nodiscard]] Result<bool> remove(const Sha256 &hash) const;
    [[nodiscard]] std::uint64_t total_bytes() const;
    [[nodiscard]] const Paths &paths() const { return paths_; }

private:
    Paths paths_;
};

// Receives one object: hashed while it is written into a temporary file, which becomes the object only when hash and size are
// right. Whatever ends it earlier, an error, the object's end or the process', leaves nothing behind.
class StoreWriter {
public:
    // A known size is reserved on the disk at once, so that a full disk is an error before anything is sent (store_disk_full).
    [[nodiscard]] static Result<StoreWriter> begin(const Paths &paths, const Sha256 &expected, std::optional<std::uint64_t> size);

    StoreWriter(StoreWriter &&) noexcept = default;
    StoreWriter &operator=(StoreWriter &&) noexcept = delete;
    StoreWriter(const StoreWriter &) = delete;
    StoreWriter &operator=(const StoreWriter &) = delete;
    ~StoreWriter();

    [[nodiscard]] Status write(std::span<const std::uint8_t> bytes);
    // store_hash_mismatch when hash or size are not the expected ones.
    [[nodiscard]] Result<StoredObject> commit();

private:
    StoreWriter(Paths paths, const Sha256 &expected, std::optional<std::uint64_t> size, std::wstring temporary,
                unique_handle file, Sha256Hasher hasher)
        : paths_(std::move(paths)), expected_(expected), size_(size), temporary_(std::move(temporary)), file_(std::move(file)),
          hasher_(std::move(hasher)) {}

    Paths paths_;
    Sha256 expected_;
    std::optional<std::uint64_t> size_;
    std::wstring temporary_;
    unique_handle file_;
    Sha256Hasher hasher_;
    std::uint64_t written_ = 0;
};

// Pulls from a URL into the store. Nothing for the proxy: what the host is configured to use.
[[nodiscard]] Result<StoredObject> fetch_into_store(const Paths &paths, const std::string &url, const Sha256 &expected,
                                                    std::optional<std::uint64_t> size, const std::optional<std::string> &proxy);

// Moves a file that was copied to the host into the store.
[[nodiscard]] Result<StoredObject> import_into_store(const Paths &paths, const std::wstring &path, const Sha256 &expected,
                                                     std::uint64_t size);

} // namespace hotpatch
