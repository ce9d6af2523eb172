// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// From the bytes of a payload's file to a Payload that may be used, or the one reason why not. docs/payload.md gives form and
// order.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "payload.hpp"
#include "result.hpp"

namespace hotpatch {

struct TrustedKey {
    Sha256 id{};      // SHA-256 of the public key's bytes
    Bytes public_key; // DER SubjectPublicKeyInfo, P-256
    std::string name;
    std::optional<std::uint64_t> not_after; // seconds since 1970 UTC; nothing: no end
};

// Whom and what this host trusts, as trust.json holds it.
struct Trust {
    std::vector<TrustedKey> keys;
    std::vector<Sha256> revoked_keys;
    std::vector<Sha256> revoked_payloads;
    std::map<std::string, std::uint64_t> sequences; // the highest accepted of each payload id
};

inline constexpr std::size_t largest_payload = std::size_t{16} << 20U;

// A COSE_Sign1 message taken apart but not yet believed: views of the file.
struct SignedMessage {
    std::span<const std::uint8_t> protected_header; // as it is signed
    Sha256 key_id{};
    std::span<const std::uint8_t> content;
    std::span<const std::uint8_t> signature; // 64 bytes
};

// Form only: size, outer CBOR, the headers, that a signature is there. Allocates nothing.
[[nodiscard]] Result<SignedMessage> parse_signed_message(std::span<const std::uint8_t> file);

// The content map, every value checked against docs/payload.md. Only for content whose signature was verified.
[[nodiscard]] Result<Payload> decode_payload(std::span<const std::uint8_t> content);

// All checks in the documented order; `now` is seconds since 1970 UTC.
[[nodiscard]] Result<Payload> verify_payload(std::span<const std::uint8_t> file, const Trust &trust, std::uint64_t now);

} // namespace hotpatch
