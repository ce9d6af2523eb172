// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "trust.hpp"

#include <algorithm>
#include <limits>

#include "crypto.hpp"
#include "text.hpp"

namespace hotpatch {

namespace {

constexpr std::uint64_t file_version = 1;
constexpr std::uint64_t largest_state_file = std::uint64_t{4} << 20U;
constexpr std::uint64_t any = std::numeric_limits<std::uint64_t>::max();
constexpr std::size_t most_keys = 100;
constexpr std::size_t most_revocations = 10'000;
constexpr std::size_t longest_name = 200;

// The agent's own files carry the same kinds of values as the wire, but a mistake in them is damage, not a wrong argument.
Result<Json> load_state(const std::wstring &path) {
    auto content = read_file(path, largest_state_file);
    if (!content) {
        return content.error();
    }
    if (!content.value()) {
        return Json();
    }
    const Bytes &bytes = *content.value();
    auto document = parse_json({reinterpret_cast<const char *>(bytes.data()), bytes.size()});
    if (!document || !document.value().is_object()) {
        return Error{Code::store_damaged, "The agent's own state is damaged: restore the file or remove it", to_utf8(path), 0};
    }
    return document;
}

Status in_file(Status status, const std::wstring &path) {
    if (!status) {
        status.error().message = "The agent's own state is damaged, restore the file or remove it: " + status.error().message;
        status.error().where = to_utf8(path);
    }
    return status;
}

TrustedKey read_key(Fields &fields) {
    TrustedKey key;
    key.name = fields.text("name", longest_name);
    key.not_after = fields.optional_number("not_after", 0, any);
    const auto bytes = parse_base64(fields.text("public_key"));
    if (!bytes || !is_p256_spki(*bytes)) {
        fields.refuse("public_key", "is not the base64 of a P-256 key as DER SubjectPublicKeyInfo");
        return key;
    }
    key.public_key = *bytes;
    if (const auto id = sha256(key.public_key)) {
        key.id = id.value();
    } else {
        fields.refuse("public_key", "cannot be hashed");
    }
    return key;
}

Result<std::vector<TrustedKey>> read_keys(const Json &list, const std::string &where, Code code, bool with_id) {
    std::vector<TrustedKey> keys;
    for (std::size_t index = 0; index < list.size(); ++index) {
        Fields fields(list[index], where + "[" + std::to_string(index) + "]", code);
        TrustedKey key = read_key(fields);
        if (with_id && fields.sha256("id") != key.id) {
            fields.refuse("id", "is not the hash of the key");
        }
        if (std::any_of(keys.begin(), keys.end(), [&](const TrustedKey &other) { return other.id == key.id; })) {
            fields.refuse("public_key", "is in the list twice");
        }
        if (const auto status = fields.done(); !status) {
            return status.error();
        }
        keys.push_back(std::move(key));
    }
    return keys;
}

Result<std::map<std::string, std::uint64_t>> read_sequences(const Json &object) {
    std::map<std::string, std::uint64_t> sequences;
    Fields fields(object, "sequences", Code::store_damaged);
    for (const auto &[id, value] : object.items()) {
        sequences[id] = fields.number(id, 0, any);
    }
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    return sequences;
}

// The three lists that the wire's arguments and the file have in common.
Status read_lists(Fields &fields, const std::string &where, Code code, bool with_id, Trust &trust) {
    const Json &list = fields.list("keys", most_keys);
    auto keys = read_keys(list, where.empty() ? "keys" : where + ".keys", code, with_id);
    if (!keys) {
        return keys.error();
    }
    trust.keys = std::move(keys).value();
    trust.revoked_keys = fields.sha256_list("revoked_keys", most_revocations);
    trust.revoked_payloads = fields.sha256_list("revoked_payloads", most_revocations);
    return Unit{};
}

Json hex_list(const std::vector<Sha256> &hashes) {
    Json list = Json::array();
    for (const Sha256 &hash : hashes) {
        list.push_back(to_hex(hash));
    }
    return list;
}

} // namespace

Json trust_json(const Trust &trust) {
    Json keys = Json::array();
    for (const TrustedKey &key : trust.keys) {
        keys.push_back({{"id", to_hex(key.id)},
                        {"public_key", to_base64(key.public_key)},
                        {"name", key.name},
                        {"not_after", key.not_after ? Json(*key.not_after) : Json()}});
    }
    Json sequences = Json::object();
    for (const auto &[id, sequence] : trust.sequences) {
        sequences[id] = sequence;
    }
    return {{"keys", keys},
            {"revoked_keys", hex_list(trust.revoked_keys)},
            {"revoked_payloads", hex_list(trust.revoked_payloads)},
            {"sequences", sequences}};
}

Result<Trust> trust_of_arguments(const Json &arguments) {
    Trust trust;
    Fields fields(arguments, "arguments");
    auto status = read_lists(fields, "arguments", Code::argument_invalid, false, trust);
    if (auto done = fields.done(); !done) {
        return done.error();
    }
    if (!status) {
        return status.error();
    }
    return trust;
}

Result<Trust> load_trust(const Paths &paths) {
    const auto document = load_state(paths.trust());
    if (!document) {
        return document.error();
    }
    Trust trust;
    if (document.value().is_null()) {
        return trust;
    }
    Fields fields(document.value(), "", Code::store_damaged);
    fields.number("version", file_version, file_version);
    auto status = read_lists(fields, "", Code::store_damaged, true, trust);
    auto sequences = read_sequences(fields.object("sequences"));
    if (status) {
        status = fields.done();
    }
    if (status && !sequences) {
        status = sequences.error();
    }
    if (status = in_file(std::move(status), paths.trust()); !status) {
        return status.error();
    }
    trust.sequences = std::move(sequences).value();
    return trust;
}

Status save_trust(const Paths &paths, const Trust &trust) {
    Json document = Json::object({{"version", file_version}});
    document.update(trust_json(trust));
    return write_file(paths.trust(), dump_json(document));
}

Result<bool> accept_sequence(const Paths &paths, const std::string &payload_id, std::uint64_t sequence) {
    auto trust = load_trust(paths);
    if (!trust) {
        return trust.error();
    }
    const auto [entry, inserted] = trust.value().sequences.try_emplace(payload_id, sequence);
    if (!inserted && entry->second >= sequence) {
        return false;
    }
    entry->second = sequence;
    if (const auto status = save_trust(paths, trust.value()); !status) {
        return status.error();
    }
    return true;
}

Result<std::vector<Desired>> load_desired(const Paths &paths) {
    const auto document = load_state(paths.desired());
    if (!document) {
        return document.error();
    }
    std::vector<Desired> desired;
    if (document.value().is_null()) {
        return desired;
    }
    Fields fields(document.value(), "", Code::store_damaged);
    fields.number("version", file_version, file_version);
    Status status = Unit{};
    for (const Json &element : fields.list("payloads", most_revocations)) {
        Fields entry(element, "payloads", Code::store_damaged);
        desired.push_back(
            {entry.sha256("sha256"), entry.text("id"), entry.number("sequence", 0, any), entry.number("since", 0, any)});
        if (status) {
            status = entry.done();
        }
    }
    if (status) {
        status = fields.done();
    }
    if (status = in_file(std::move(status), paths.desired()); !status) {
        return status.error();
    }
    return desired;
}

Status save_desired(const Paths &paths, const std::vector<Desired> &desired) {
    Json payloads = Json::array();
    for (const Desired &entry : desired) {
        payloads.push_back(
            {{"sha256", to_hex(entry.sha256)}, {"id", entry.id}, {"sequence", entry.sequence}, {"since", entry.since}});
    }
    return write_file(paths.desired(), dump_json(Json::object({{"version", file_version}, {"payloads", payloads}})));
}

} // namespace hotpatch
