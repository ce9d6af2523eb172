// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// SHA-256 and ECDSA over P-256, by Windows' CNG.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "handle.hpp"
#include "payload.hpp"
#include "result.hpp"

namespace hotpatch {

class Sha256Hasher {
public:
    [[nodiscard]] static Result<Sha256Hasher> create();
    // Failures are kept and reported by finish.
    void update(std::span<const std::uint8_t> bytes);
    // Once only.
    [[nodiscard]] Result<Sha256> finish();

private:
    unique_algorithm algorithm_; // outlives the hash
    unique_hash hash_;
    NTSTATUS status_ = 0;
};

[[nodiscard]] Result<Sha256> sha256(std::span<const std::uint8_t> bytes);
[[nodiscard]] Result<Sha256> sha256_of_file(const std::wstring &path);

// A P-256 public key as DER SubjectPublicKeyInfo with an uncompressed point: always these 91 bytes.
inline constexpr std::size_t spki_size = 91;
[[nodiscard]] bool is_p256_spki(std::span<const std::uint8_t> spki);

// Whether the 64-byte signature (r, then s) is the key's over this hash.
[[nodiscard]] Result<bool> verify_es256(std::span<const std::uint8_t> spki, const Sha256 &hash,
                                        std::span<const std::uint8_t> signature);

} // namespace hotpatch
