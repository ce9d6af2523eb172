// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The operations on the store and on what the host trusts.
#include <algorithm>
#include <limits>

#include "host_operations.hpp"
#include "jobs.hpp"
#include "payload_operations.hpp"
#include "text.hpp"
#include "trust.hpp"

namespace hotpatch {

namespace {

constexpr std::size_t most_objects = 1000;
constexpr std::uint64_t largest_object = std::uint64_t{16} << 30U;

// What the operation would give: the object is there already, or it would be.
Json foreseen(const Call &call, const Sha256 &hash, std::optional<std::uint64_t> size) {
    const auto held = Store(call.paths()).size_of(hash);
    const auto known = held ? held : size;
    return Json::object({{"sha256", to_hex(hash)}, {"size", known ? Json(*known) : Json()}, {"changed", !held.has_value()}});
}

Status refuse_objects_in_use(Call &call, const std::vector<Sha256> &hashes) {
    const auto in_force = objects_in_force(call);
    if (!in_force) {
        return in_force.error();
    }
    const auto jobs = list_jobs(call.paths());
    for (const Sha256 &hash : hashes) {
        const bool used = std::find(in_force.value().begin(), in_force.value().end(), hash) != in_force.value().end();
        const bool installing = std::any_of(
            jobs.begin(), jobs.end(), [&](const Job &job) { return job.package == hash && job.state == JobState::running; });
        if (used || installing) {
            return Error{Code::store_object_in_use, to_hex(hash) + (used ? " is in force" : " is being installed"),
                         to_utf8(call.paths().object(hash)), 0};
        }
    }
    return Unit{};
}

} // namespace

Json stored_json(const StoredObject &stored) {
    return Json::object({{"sha256", to_hex(stored.sha256)}, {"size", stored.size}, {"changed", stored.changed}});
}

Result<Json> store_query_operation(Call &call, const Json &arguments) {
    Fields fields(arguments, "arguments");
    const auto hashes = fields.sha256_list("objects", most_objects);
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    Json present = Json::object();
    for (const Sha256 &hash : hashes) {
        if (const auto size = call.context().store().size_of(hash)) {
            present[to_hex(hash)] = *size;
        }
    }
    return Json::object({{"present", present}, {"free_bytes", free_bytes(call.paths())}});
}

Result<Json> store_import_operation(Call &call, const Json &arguments) {
    Fields fields(arguments, "arguments");
    const std::string path = fields.text("path");
    const Sha256 hash = fields.sha256("sha256");
    const std::uint64_t size = fields.number("size", 0, largest_object);
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    if (call.dry_run()) {
        return foreseen(call, hash, size);
    }
    const auto stored = import_into_store(call.paths(), to_wide(path), hash, size);
    return stored ? Result<Json>(stored_json(stored.value())) : Result<Json>(stored.error());
}

Result<Json> store_fetch_operation(Call &call, const Json &arguments) {
    Fields fields(arguments, "arguments");
    const std::string url = fields.text("url");
    const Sha256 hash = fields.sha256("sha256");
    const auto size = fields.optional_number("size", 0, largest_object);
    const auto proxy = fields.optional_text("proxy");
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    if (call.dry_run() || call.context().store().size_of(hash)) {
        return foreseen(call, hash, size);
    }
    const auto stored = fetch_into_store(call.paths(), url, hash, size, proxy);
    return stored ? Result<Json>(stored_json(stored.value())) : Result<Json>(stored.error());
}

Result<Json> store_remove_operation(Call &call, const Json &arguments) {
    Fields fields(arguments, "arguments");
    const auto hashes = fields.sha256_list("objects", most_objects);
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    if (const auto status = refuse_objects_in_use(call, hashes); !status) {
        return status.error();
    }
    Json removed = Json::array();
    for (const Sha256 &hash : hashes) {
        const auto done =
            call.dry_run() ? Result<bool>(call.context().store().size_of(hash).has_value()) : call.context().store().remove(hash);
        if (!done) {
            return done.error();
        }
        if (done.value()) {
            removed.push_back(to_hex(hash));
        }
    }
    return Json::object({{"removed", removed}, {"changed", !removed.empty()}});
}

Result<Json> trust_get_operation(Call &call, const Json &arguments) {
    Fields fields(arguments, "arguments");
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    const auto trust = load_trust(call.paths());
    return trust ? Result<Json>(trust_json(trust.value())) : Result<Json>(trust.error());
}

Result<Json> trust_set_operation(Call &call, const Json &arguments) {
    auto wanted = trust_of_arguments(arguments);
    if (!wanted) {
        return wanted.error();
    }
    const auto held = load_trust(call.paths());
    if (!held) {
        return held.error();
    }
    wanted.value().sequences = held.value().sequences;
    const Json before = trust_json(held.value());
    const Json after = trust_json(wanted.value());
    const bool changed = before != after;
    if (changed && !call.dry_run()) {
        if (const auto status = save_trust(call.paths(), wanted.value()); !status) {
            return status.error();
        }
    }
    return Json::object({{"before", before}, {"after", after}, {"changed", changed}});
}

} // namespace hotpatch
