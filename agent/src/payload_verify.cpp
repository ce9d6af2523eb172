// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "payload_verify.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>

#include "cbor.hpp"
#include "crypto.hpp"
#include "text.hpp"

namespace hotpatch {

namespace {

constexpr std::uint64_t cose_sign1_tag = 18; // RFC 9052, section 2
constexpr std::size_t sign1_items = 4;       // protected, unprotected, payload, signature
constexpr std::string_view content_type = "application/vnd.hotpatch-windows.payload+cbor";
constexpr std::size_t es256_signature_size = 64;

Error malformed(std::string message) {
    return Error{Code::payload_malformed, std::move(message), {}, 0};
}

Error failure_of(const cbor::Reader &reader, std::string_view what) {
    const bool truncated = reader.failure() == cbor::Failure::truncated;
    return Error{truncated ? Code::payload_truncated : Code::payload_malformed,
                 truncated ? "The payload ends in the middle of the " + std::string(what)
                           : "The " + std::string(what) + " is not of the documented form",
                 {},
                 0};
}

// The protected header has one possible spelling: {1: -7, 3: content_type, 4: kid}.
Result<Sha256> key_id_of(cbor::View header) {
    cbor::Reader reader(header);
    reader.map_of(3);
    const bool algorithm = reader.integer() == 1 && reader.integer() == -7;
    const bool type = reader.integer() == 3 && reader.text() == content_type;
    const bool key = reader.integer() == 4;
    const cbor::View kid = reader.byte_string();
    reader.end();
    Sha256 id{};
    if (!reader.ok() || !algorithm || !type || !key || kid.size() != id.size()) {
        return malformed("The protected header is not of the documented form");
    }
    std::copy(kid.begin(), kid.end(), id.begin());
    return id;
}

// The head of a byte string of that size, in the shortest form, as the signature covers it.
Bytes byte_string_head(std::size_t size) {
    if (size < 24) {
        return {static_cast<std::uint8_t>(0x40U | size)};
    }
    const std::size_t width = size <= 0xFF ? 1 : size <= 0xFFFF ? 2 : 4; // a payload is far below 4 GiB
    Bytes head{static_cast<std::uint8_t>(0x40U | (width == 1 ? 24U : width == 2 ? 25U : 26U))};
    for (std::size_t byte = width; byte-- > 0;) {
        head.push_back(static_cast<std::uint8_t>(size >> (8 * byte)));
    }
    return head;
}

// The hash of Sig_structure (RFC 9052, section 4.4): ["Signature1", protected, external data (empty), content].
Result<Sha256> hash_to_be_signed(const SignedMessage &message) {
    static constexpr std::array<std::uint8_t, 12> start{0x84, 0x6A, 'S', 'i', 'g', 'n', 'a', 't', 'u', 'r', 'e', '1'};
    static constexpr std::array<std::uint8_t, 1> no_external_data{0x40};
    auto hasher = Sha256Hasher::create();
    if (!hasher) {
        return hasher.error();
    }
    hasher.value().update(start);
    hasher.value().update(byte_string_head(message.protected_header.size()));
    hasher.value().update(message.protected_header);
    hasher.value().update(no_external_data);
    hasher.value().update(byte_string_head(message.content.size()));
    hasher.value().update(message.content);
    return hasher.value().finish();
}

bool holds(const std::vector<Sha256> &list, const Sha256 &value) {
    return std::find(list.begin(), list.end(), value) != list.end();
}

Status check_signature(const SignedMessage &message, const Trust &trust, std::uint64_t now) {
    const std::string id = to_hex(message.key_id);
    const auto key =
        std::find_if(trust.keys.begin(), trust.keys.end(), [&](const TrustedKey &known) { return known.id == message.key_id; });
    if (holds(trust.revoked_keys, message.key_id)) {
        return Error{Code::payload_key_revoked, "The key " + id + " that signed the payload is revoked", {}, 0};
    }
    if (key == trust.keys.end()) {
        return Error{
            Code::payload_key_unknown, "The payload is signed by the key " + id + ", which this host does not trust", {}, 0};
    }
    if (key->not_after && now > *key->not_after) {
        return Error{Code::payload_key_expired, "The key '" + key->name + "' (" + id + ") has expired", {}, 0};
    }
    const auto hash = hash_to_be_signed(message);
    if (!hash) {
        return hash.error();
    }
    const auto genuine = verify_es256(key->public_key, hash.value(), message.signature);
    if (!genuine) {
        return genuine.error();
    }
    if (!genuine.value()) {
        return Error{Code::payload_signature_invalid, {}, {}, 0};
    }
    return Unit{};
}

Status check_standing(const Payload &payload, const Trust &trust, std::uint64_t now) {
    if (holds(trust.revoked_payloads, payload.file_sha256)) {
        return Error{Code::payload_revoked, "The payload '" + payload.id + "' is revoked on this host", {}, 0};
    }
    if (now > payload.expires) {
        return Error{
            Code::payload_expired, "The payload '" + payload.id + "' expired at " + std::to_string(payload.expires), {}, 0};
    }
    const auto accepted = trust.sequences.find(payload.id);
    if (accepted != trust.sequences.end() && payload.sequence < accepted->second) {
        return Error{Code::payload_sequence_back,
                     "The payload '" + payload.id + "' has sequence " + std::to_string(payload.sequence) +
                         ", this host has accepted " + std::to_string(accepted->second),
                     {},
                     0};
    }
    return Unit{};
}

} // namespace

Result<SignedMessage> parse_signed_message(std::span<const std::uint8_t> file) {
    if (file.size() > largest_payload) {
        return malformed("The payload is larger than 16 MiB");
    }
    cbor::Reader reader(file);
    reader.tag(cose_sign1_tag);
    reader.array_of(sign1_items);
    SignedMessage message;
    message.protected_header = reader.byte_string();
    reader.map_of(0); // the unprotected header
    message.content = reader.byte_string();
    message.signature = reader.byte_string();
    reader.end();
    if (!reader.ok()) {
        return failure_of(reader, "signed message");
    }
    const auto key = key_id_of(message.protected_header);
    if (!key) {
        return key.error();
    }
    message.key_id = key.value();
    if (message.signature.empty()) {
        return Error{Code::payload_unsigned, {}, {}, 0};
    }
    if (message.signature.size() != es256_signature_size) {
        return malformed("The signature is not 64 bytes long");
    }
    return message;
}

Result<Payload> verify_payload(std::span<const std::uint8_t> file, const Trust &trust, std::uint64_t now) {
    const auto message = parse_signed_message(file);
    if (!message) {
        return message.error();
    }
    if (const auto status = check_signature(message.value(), trust, now); !status) {
        return status.error();
    }
    auto payload = decode_payload(message.value().content);
    if (!payload) {
        return payload.error();
    }
    const auto hash = sha256(file);
    if (!hash) {
        return hash.error();
    }
    payload.value().file_sha256 = hash.value();
    payload.value().key_id = to_hex(message.value().key_id);
    if (const auto status = check_standing(payload.value(), trust, now); !status) {
        return status.error();
    }
    return payload;
}

} // namespace hotpatch
