// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "protocol.hpp"

#include <algorithm>
#include <array>
#include <exception>

#include "crypto.hpp"
#include "error_json.hpp"
#include "host_operations.hpp"
#include "installation.hpp"
#include "payload_operations.hpp"
#include "platform.hpp"
#include "text.hpp"
#include "version.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

enum class Kind : std::uint8_t {
    reads,     // changes nothing
    changes,   // under the host's lock
    transfers, // into the store: whole or not at all by itself, and too long for the lock
    local,     // carried out by the calling process; takes the lock itself
};

struct Operation {
    std::string_view name;
    Kind kind;
    Result<Json> (*run)(Call &, const Json &);
};

constexpr std::array<Operation, 17> operations{{
    {"host_info", Kind::reads, host_info_operation},
    {"store_query", Kind::reads, store_query_operation},
    {"store_import", Kind::transfers, store_import_operation},
    {"store_fetch", Kind::transfers, store_fetch_operation},
    {"store_remove", Kind::changes, store_remove_operation},
    {"trust_get", Kind::reads, trust_get_operation},
    {"trust_set", Kind::changes, trust_set_operation},
    {"preflight", Kind::reads, preflight_operation},
    {"apply", Kind::changes, apply_operation},
    {"revert", Kind::changes, revert_operation},
    {"enrollment_set", Kind::changes, enrollment_set_operation},
    {"package_install", Kind::changes, package_install_operation},
    {"job_status", Kind::reads, job_status_operation},
    {"reboot", Kind::changes, reboot_operation},
    {"boot_id", Kind::reads, boot_id_operation},
    {"agent_install", Kind::local, install_agent},
    {"agent_uninstall", Kind::local, uninstall_agent},
}};

struct Request {
    std::string operation;
    Json arguments;
    bool dry_run = false;
};

struct Refusal {
    Error error;
    Json details = Json::object();
};

const Operation *find_operation(std::string_view name) {
    const auto found =
        std::find_if(operations.begin(), operations.end(), [&](const Operation &operation) { return operation.name == name; });
    return found == operations.end() ? nullptr : &*found;
}

// The version is looked at before anything else: a request of another version may have other keys, and deserves an answer it
// understands.
std::optional<Refusal> check_version(const Json &document) {
    const auto requested = document.is_object() ? document.find("protocol") : document.end();
    if (!document.is_object() || requested == document.end() || !requested->is_number_integer()) {
        return Refusal{Error{Code::protocol_malformed, "The request is not an object with the number 'protocol'", {}, 0}};
    }
    if (*requested != protocol_version) {
        return Refusal{
            Error{Code::protocol_version,
                  "The request is of protocol " + requested->dump() + ", this agent speaks " + std::to_string(protocol_version),
                  {},
                  0},
            Json::object({{"supported", protocol_version}, {"requested", *requested}})};
    }
    return std::nullopt;
}

Result<Request> read_request(const Json &document) {
    Request request;
    Fields fields(document, "");
    fields.number("protocol", protocol_version, protocol_version);
    request.operation = fields.text("operation", 64);
    request.arguments = fields.object("arguments");
    request.dry_run = fields.flag("dry_run", false);
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    return request;
}

Result<Json> carry_out(AgentContext &context, const Operation &operation, const Request &request) {
    if (!is_administrator()) {
        return Error{Code::access_denied, "The account is not an administrator of this host", {}, 0};
    }
    const bool reads = operation.kind == Kind::reads || request.dry_run;
    const bool only_look = reads || operation.kind == Kind::local; // which makes the folder when it comes to it
    if (const auto status = only_look ? check_folder(context.paths()) : secure_folder(context.paths()); !status) {
        return status.error();
    }
    Call call(context, request.dry_run);
    if (operation.kind == Kind::changes && !request.dry_run) {
        if (const auto status = call.lock(); !status) {
            return status.error();
        }
    }
    auto result = operation.run(call, request.arguments);
    if (!reads && result && context.wake) {
        context.wake();
    }
    return result;
}

// Nothing of ours throws, but the library for JSON and running out of memory can.
Result<Json> carry_out_guarded(AgentContext &context, const Operation &operation, const Request &request) {
    try {
        return carry_out(context, operation, request);
    } catch (const std::exception &exception) {
        return Error{Code::agent_internal, std::string("Unexpected: ") + exception.what(), request.operation, 0};
    }
}

Json envelope(const Identity &identity) {
    return Json::object({{"protocol", protocol_version}, {"agent", identity_json(identity)}});
}

std::string reply_with_error(const Identity &identity, const Refusal &refusal) {
    Json document = envelope(identity);
    document["error"] = refusal.details.empty() ? error_json(refusal.error) : error_json(refusal.error, refusal.details);
    return dump_json(document);
}

} // namespace

Identity Identity::of_this_program(Mode mode) {
    const auto hash = sha256_of_file(own_path());
    return {mode, hash ? to_hex(hash.value()) : std::string()};
}

Json identity_json(const Identity &identity) {
    return Json::object({{"version", agent_version},
                         {"build", platform::build},
                         {"mode", identity.mode == Mode::resident ? "resident" : "transient"},
                         {"sha256", identity.sha256}});
}

bool is_local_operation(std::string_view request) {
    const auto document = parse_json(request);
    if (!document || !document.value().is_object()) {
        return false;
    }
    const auto name = document.value().find("operation");
    const Operation *operation =
        name != document.value().end() && name->is_string() ? find_operation(name->get<std::string>()) : nullptr;
    return operation != nullptr && operation->kind == Kind::local;
}

std::string answer(AgentContext &context, const Identity &identity, std::string_view text) {
    if (text.size() > largest_request) {
        return reply(identity, Error{Code::protocol_malformed, "The request is larger than 1 MiB", {}, 0});
    }
    const auto document = parse_json(text);
    if (!document) {
        return reply(identity, document.error());
    }
    if (const auto refusal = check_version(document.value())) {
        return reply_with_error(identity, *refusal);
    }
    const auto request = read_request(document.value());
    if (!request) {
        return reply(identity, request.error());
    }
    const Operation *operation = find_operation(request.value().operation);
    if (operation == nullptr) {
        return reply(identity,
                     Error{Code::operation_unknown, "The agent knows no operation '" + request.value().operation + "'", {}, 0});
    }
    if (operation->kind == Kind::local && context.mode() == Mode::resident) {
        return reply(identity,
                     Error{Code::operation_unknown,
                           "'" + request.value().operation + "' is carried out by the calling process, not by the service",
                           {},
                           0});
    }
    return reply(identity, carry_out_guarded(context, *operation, request.value()));
}

std::string reply(const Identity &identity, const Result<Json> &result) {
    if (!result) {
        return reply_with_error(identity, {result.error()});
    }
    Json document = envelope(identity);
    document["result"] = result.value();
    std::string text = dump_json(document);
    if (text.size() > largest_reply) {
        return reply_with_error(identity, {Error{Code::agent_internal, "The reply would be larger than 4 MiB", {}, 0}});
    }
    return text;
}

bool holds_error(std::string_view text) {
    const auto document = parse_json(text);
    return !document || !document.value().is_object() || !document.value().contains("result");
}

} // namespace hotpatch
