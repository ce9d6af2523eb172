// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "crypto.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

// SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING (66 bytes, none unused) { 04 X Y } } up to and with the 04 (RFC
// 5480).
constexpr std::array<std::uint8_t, 27> spki_prefix{0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48,
                                                   0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48,
                                                   0xCE, 0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04};
constexpr ULONG coordinate_size = 32;

Error cng_error(const char *what, NTSTATUS status) {
    return Error{Code::agent_internal, std::string(what) + " failed in Windows' CNG", {}, static_cast<std::uint32_t>(status)};
}

} // namespace

Result<Sha256Hasher> Sha256Hasher::create() {
    Sha256Hasher hasher;
    NTSTATUS status = BCryptOpenAlgorithmProvider(hasher.algorithm_.out(), BCRYPT_SHA256_ALGORITHM, nullptr, 0);
    if (BCRYPT_SUCCESS(status)) {
        status = BCryptCreateHash(hasher.algorithm_.get(), hasher.hash_.out(), nullptr, 0, nullptr, 0, 0);
    }
    if (!BCRYPT_SUCCESS(status)) {
        return cng_error("SHA-256", status);
    }
    return hasher;
}

void Sha256Hasher::update(std::span<const std::uint8_t> bytes) {
    // CNG takes a pointer to non-const and a 32-bit length.
    constexpr std::size_t step = 1U << 30U;
    while (!bytes.empty() && BCRYPT_SUCCESS(status_)) {
        const auto part = bytes.first(std::min(bytes.size(), step));
        status_ = BCryptHashData(hash_.get(), const_cast<PUCHAR>(part.data()), static_cast<ULONG>(part.size()), 0);
        bytes = bytes.subspan(part.size());
    }
}

Result<Sha256> Sha256Hasher::finish() {
    Sha256 digest{};
    if (BCRYPT_SUCCESS(status_)) {
        status_ = BCryptFinishHash(hash_.get(), digest.data(), static_cast<ULONG>(digest.size()), 0);
    }
    if (!BCRYPT_SUCCESS(status_)) {
        return cng_error("SHA-256", status_);
    }
    return digest;
}

Result<Sha256> sha256(std::span<const std::uint8_t> bytes) {
    auto hasher = Sha256Hasher::create();
    if (!hasher) {
        return hasher.error();
    }
    hasher.value().update(bytes);
    return hasher.value().finish();
}

Result<Sha256> sha256_of_file(const std::wstring &path) {
    const unique_handle file(CreateFileW(path.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_DELETE, nullptr, OPEN_EXISTING,
                                         FILE_FLAG_SEQUENTIAL_SCAN, nullptr));
    if (!file) {
        return last_error(Code::agent_internal, "A file cannot be read", to_utf8(path));
    }
    auto hasher = Sha256Hasher::create();
    if (!hasher) {
        return hasher.error();
    }
    std::vector<std::uint8_t> buffer(std::size_t{1} << 18U);
    for (;;) {
        DWORD have = 0;
        if (ReadFile(file.get(), buffer.data(), static_cast<DWORD>(buffer.size()), &have, nullptr) == FALSE) {
            return last_error(Code::agent_internal, "A file cannot be read", to_utf8(path));
        }
        if (have == 0) {
            return hasher.value().finish();
        }
        hasher.value().update(std::span(buffer).first(have));
    }
}

bool is_p256_spki(std::span<const std::uint8_t> spki) {
    return spki.size() == spki_size && std::equal(spki_prefix.begin(), spki_prefix.end(), spki.begin());
}

Result<bool> verify_es256(std::span<const std::uint8_t> spki, const Sha256 &hash, std::span<const std::uint8_t> signature) {
    if (!is_p256_spki(spki) || signature.size() != std::size_t{2} * coordinate_size) {
        return Error{Code::agent_internal, "Not a P-256 key and a 64-byte signature", {}, 0};
    }
    std::array<std::uint8_t, sizeof(BCRYPT_ECCKEY_BLOB) + std::size_t{2} * coordinate_size> blob{};
    const BCRYPT_ECCKEY_BLOB header{BCRYPT_ECDSA_PUBLIC_P256_MAGIC, coordinate_size};
    std::memcpy(blob.data(), &header, sizeof header);
    std::copy(spki.begin() + spki_prefix.size(), spki.end(), blob.begin() + sizeof header);

    unique_algorithm algorithm;
    NTSTATUS status = BCryptOpenAlgorithmProvider(algorithm.out(), BCRYPT_ECDSA_P256_ALGORITHM, nullptr, 0);
    if (!BCRYPT_SUCCESS(status)) {
        return cng_error("ECDSA P-256", status);
    }
    unique_cng_key key;
    status = BCryptImportKeyPair(algorithm.get(), nullptr, BCRYPT_ECCPUBLIC_BLOB, key.out(), blob.data(),
                                 static_cast<ULONG>(blob.size()), 0);
    if (!BCRYPT_SUCCESS(status)) {
        return false; // not a point of the curve: nothing can be signed by it
    }
    status = BCryptVerifySignature(key.get(), nullptr, const_cast<PUCHAR>(hash.data()), static_cast<ULONG>(hash.size()),
                                   const_cast<PUCHAR>(signature.data()), static_cast<ULONG>(signature.size()), 0);
    return BCRYPT_SUCCESS(status); // CNG gives different errors for r or s out of range; all of them mean "no"
}

} // namespace hotpatch
