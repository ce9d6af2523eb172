// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The commands of hotpatch-agent.exe.
#include <array>
#include <charconv>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <windows.h>

#include "agent_context.hpp"
#include "engine.hpp"
#include "error_json.hpp"
#include "host_operations.hpp"
#include "jobs.hpp"
#include "pipe.hpp"
#include "protocol.hpp"
#include "service.hpp"
#include "service_control.hpp"
#include "store.hpp"
#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

constexpr int exit_result = 0;
constexpr int exit_error = 1;
constexpr int exit_no_reply = 2;

using Arguments = std::vector<std::wstring>;

// Reads up to the limit and one byte more, so that "too much" can be told; false when the input breaks.
bool read_input(std::size_t limit, const std::function<bool(std::span<const std::uint8_t>)> &receive) {
    const HANDLE input = GetStdHandle(STD_INPUT_HANDLE);
    std::vector<std::uint8_t> buffer(std::size_t{1} << 16U);
    std::size_t total = 0;
    while (total <= limit) {
        DWORD have = 0;
        const auto wanted = static_cast<DWORD>(std::min(buffer.size(), limit + 1 - total));
        if (ReadFile(input, buffer.data(), wanted, &have, nullptr) == FALSE) {
            return GetLastError() == ERROR_BROKEN_PIPE || GetLastError() == ERROR_HANDLE_EOF;
        }
        if (have == 0 || !receive(std::span(buffer).first(have))) {
            return true;
        }
        total += have;
    }
    return true;
}

bool write_output(std::string_view text) {
    const HANDLE output = GetStdHandle(STD_OUTPUT_HANDLE);
    while (!text.empty()) {
        DWORD done = 0;
        if (WriteFile(output, text.data(), static_cast<DWORD>(text.size()), &done, nullptr) == FALSE || done == 0) {
            return false;
        }
        text.remove_prefix(done);
    }
    return true;
}

int finish(const std::string &reply) {
    if (!write_output(reply)) {
        std::fputs("The reply could not be written.\n", stderr);
        return exit_no_reply;
    }
    return holds_error(reply) ? exit_error : exit_result;
}

std::string local_answer(std::string_view request) {
    const Identity identity = Identity::of_this_program(Mode::transient);
    auto paths = Paths::of_host();
    if (!paths) {
        return reply(identity, paths.error());
    }
    AgentContext context(std::move(paths).value(), Mode::transient);
    return answer(context, identity, request);
}

// The service when it is installed; else this process itself.
std::string routed_answer(std::string_view request) {
    constexpr int attempts = 200;
    constexpr DWORD pause_ms = 50;
    const auto service = [&] {
        auto found = query_service();
        for (int attempt = 0; found && found.value() && found.value()->state == SERVICE_START_PENDING && attempt < attempts;
             ++attempt) {
            Sleep(pause_ms);
            found = query_service();
        }
        return found;
    }();
    const auto refused = [](const Error &error) { return reply(Identity::of_this_program(Mode::transient), error); };
    if (!service) {
        return refused(service.error());
    }
    if (!service.value()) {
        return local_answer(request);
    }
    if (service.value()->state != SERVICE_RUNNING) {
        return refused(Error{Code::agent_service_stopped, "The service 'hotpatch-agent' is " + state_name(service.value()),
                             to_utf8(service_name), 0});
    }
    auto answered = ask_service(request, service.value()->pid);
    return answered ? std::move(answered).value() : refused(answered.error());
}

int call(const Arguments & /*arguments*/) {
    std::string request;
    const bool whole = read_input(largest_request, [&](std::span<const std::uint8_t> bytes) {
        request.append(reinterpret_cast<const char *>(bytes.data()), bytes.size());
        return true;
    });
    if (!whole) {
        std::fputs("The request could not be read from standard input.\n", stderr);
        return exit_no_reply;
    }
    return finish(request.size() > largest_request || is_local_operation(request) ? local_answer(request)
                                                                                  : routed_answer(request));
}

struct PutArguments {
    Sha256 sha256{};
    std::uint64_t size = 0;
};

std::optional<PutArguments> read_put_arguments(const Arguments &arguments) {
    std::optional<Sha256> hash;
    std::optional<std::uint64_t> size;
    for (std::size_t index = 0; index + 1 < arguments.size(); index += 2) {
        const std::string value = to_utf8(arguments[index + 1]);
        if (arguments[index] == L"--sha256" && !hash) {
            hash = parse_sha256(value);
        } else if (arguments[index] == L"--size" && !size) {
            std::uint64_t number = 0;
            const auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), number);
            size = failure == std::errc() && end == value.data() + value.size() ? std::optional(number) : std::nullopt;
        } else {
            return std::nullopt;
        }
    }
    return arguments.size() == 4 && hash && size ? std::optional(PutArguments{*hash, *size}) : std::nullopt;
}

Result<Json> receive_object(const PutArguments &wanted) {
    if (!is_administrator()) {
        return Error{Code::access_denied, "The account is not an administrator of this host", {}, 0};
    }
    const auto paths = Paths::of_host();
    if (!paths) {
        return paths.error();
    }
    if (const auto status = secure_folder(paths.value()); !status) {
        return status.error();
    }
    auto writer = StoreWriter::begin(paths.value(), wanted.sha256, wanted.size);
    if (!writer) {
        return writer.error();
    }
    Status status = Unit{};
    const bool read = read_input(wanted.size, [&](std::span<const std::uint8_t> bytes) {
        status = writer.value().write(bytes);
        return static_cast<bool>(status);
    });
    if (!status) {
        return status.error();
    }
    if (!read) {
        return Error{Code::store_hash_mismatch, "The stream broke off", {}, 0};
    }
    const auto stored = writer.value().commit();
    return stored ? Result<Json>(stored_json(stored.value())) : Result<Json>(stored.error());
}

int put(const Arguments &arguments) {
    const auto service = query_service();
    const Identity identity = Identity::of_this_program(service && service.value() ? Mode::resident : Mode::transient);
    const auto wanted = read_put_arguments(arguments);
    if (!wanted) {
        return finish(
            reply(identity, Error{Code::argument_invalid, "Usage: hotpatch-agent put --sha256 HASH --size BYTES", {}, 0}));
    }
    return finish(reply(identity, receive_object(*wanted)));
}

int install(const Arguments & /*arguments*/) {
    return finish(local_answer(R"({"protocol":1,"operation":"agent_install","arguments":{}})"));
}

int uninstall(const Arguments & /*arguments*/) {
    return finish(local_answer(R"({"protocol":1,"operation":"agent_uninstall","arguments":{}})"));
}

int version(const Arguments & /*arguments*/) {
    const auto service = query_service();
    const Mode mode = service && service.value() ? Mode::resident : Mode::transient;
    return write_output(dump_json(identity_json(Identity::of_this_program(mode)))) ? exit_result : exit_no_reply;
}

int job(const Arguments &arguments) {
    const auto paths = Paths::of_host();
    const auto status = !paths                  ? Status(paths.error())
                        : arguments.size() != 1 ? Status(Error{Code::argument_invalid, "Usage: hotpatch-agent job ID", {}, 0})
                                                : run_job(paths.value(), to_utf8(arguments[0]));
    if (!status) {
        std::fprintf(stderr, "%s: %s\n", std::string(name_of(status.error().code)).c_str(), status.error().message.c_str());
    }
    return status ? exit_result : exit_error;
}

struct Command {
    std::wstring_view name;
    std::size_t most_arguments;
    int (*run)(const Arguments &);
};

constexpr std::array<Command, 7> commands{{
    {L"call", 0, call},
    {L"put", 4, put},
    {L"install", 0, install},
    {L"uninstall", 0, uninstall},
    {L"version", 0, version},
    {L"serve", 0, [](const Arguments &) { return serve(); }},
    {L"job", 1, job},
}};

int run(int count, wchar_t **values) {
    const std::wstring name = count > 1 ? values[1] : L"";
    const Arguments arguments(values + std::min(count, 2), values + count);
    for (const Command &command : commands) {
        if (command.name == name && arguments.size() <= command.most_arguments) {
            return command.run(arguments);
        }
    }
    std::fputs("usage: hotpatch-agent call | put --sha256 HASH --size BYTES | install | uninstall | version | serve | job ID\n",
               stderr);
    return exit_no_reply;
}

} // namespace

} // namespace hotpatch

int wmain(int count, wchar_t **values) {
    if (const auto guard = hotpatch::engine::run_guard(count, values)) {
        return *guard;
    }
    // No dialog may ever wait for somebody on a server, and no library may be loaded from the current folder.
    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX);
    SetDllDirectoryW(L"");
    try {
        return hotpatch::run(count, values);
    } catch (const std::exception &exception) {
        std::fprintf(stderr, "hotpatch-agent: %s\n", exception.what());
        return 2;
    }
}
