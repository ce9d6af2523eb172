// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// orders.exe: the order service. As a Windows service it runs under whatever name it was registered with; with --console it runs
// in the foreground and says on standard output where it listens.
//
//   orders.exe [--console] [--address A] [--port N] [--workers N]
//
// A service without --port reads Port (REG_DWORD) from its Parameters key.
#include <winsock2.h>

#include <windows.h>

#include <array>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "../dll/orders.h"
#include "http.hpp"

namespace {

struct Options {
    bool console = false;
    std::string address = "127.0.0.1";
    std::optional<std::uint16_t> port;
    std::size_t workers = 16;
};

constexpr std::uint16_t default_port = 8080;

std::uint32_t number(const std::string &text, std::uint32_t highest) {
    std::size_t used = 0;
    const unsigned long value = std::stoul(text, &used);
    if (used != text.size() || value > highest)
        throw std::invalid_argument("not a number up to " + std::to_string(highest) + ": " + text);
    return static_cast<std::uint32_t>(value);
}

Options parse_options(int count, char **arguments) {
    Options options;
    for (int i = 1; i < count; ++i) {
        const std::string name = arguments[i];
        if (name == "--console") {
            options.console = true;
            continue;
        }
        if (i + 1 == count)
            throw std::invalid_argument("unknown option or missing value: " + name);
        const std::string value = arguments[++i];
        if (name == "--address")
            options.address = value;
        else if (name == "--port")
            options.port = static_cast<std::uint16_t>(number(value, 65535));
        else if (name == "--workers")
            options.workers = number(value, 512);
        else
            throw std::invalid_argument("unknown option: " + name);
    }
    if (options.workers == 0)
        throw std::invalid_argument("--workers must be at least 1");
    return options;
}

struct CloseContext {
    void operator()(orders_context *context) const { orders_close(context); }
};

// Routes requests to orders.dll; each worker thread has its own context.
class Application {
public:
    explicit Application(std::size_t workers) {
        for (std::size_t i = 0; i < workers; ++i) {
            contexts_.emplace_back(orders_open());
            if (!contexts_.back())
                throw std::bad_alloc();
        }
    }

    orders::Answer handle(std::size_t worker, const orders::Request &request) {
        if (request.method != "GET" && request.method != "POST")
            return {405, "text/plain", "only GET and POST\n"};
        const std::string &parameters = request.method == "POST" ? request.body : request.query;
        std::array<char, 8192> out{};
        std::size_t length = 0;
        int result = ORDERS_OK;
        std::string type = "application/json";
        if (request.path == "/health")
            return {200, type,
                    "{\"pid\": " + std::to_string(GetCurrentProcessId()) +
                        ", \"maintenance\": " + std::to_string(orders_maintenance()) + "}\n"};
        if (request.path == "/quote")
            result = quote(parameters, out, length);
        else if (request.path == "/echo") {
            type = "application/octet-stream";
            result = orders_echo(contexts_[worker].get(), parameters.c_str(), out.data(), out.size(), &length);
        } else if (request.path == "/recent")
            result = orders_recent(out.data(), out.size(), &length);
        else if (request.path.starts_with("/notes/"))
            result = orders_note(request.path.c_str() + 7, out.data(), out.size(), &length);
        else
            return {404, "text/plain", "no such resource\n"};
        if (result != ORDERS_OK)
            return {orders_http_status(result), "text/plain", std::string(orders_result_text(result)) + "\n"};
        return {200, type, std::string(out.data(), length)};
    }

private:
    static int quote(const std::string &parameters, std::array<char, 8192> &out, std::size_t &length) {
        order wanted{};
        ::quote price{};
        int result = orders_parse(parameters.c_str(), &wanted);
        if (result == ORDERS_OK)
            result = orders_quote(&wanted, &price);
        if (result == ORDERS_OK)
            result = orders_format(&wanted, &price, out.data(), out.size(), &length);
        return result;
    }

    std::vector<std::unique_ptr<orders_context, CloseContext>> contexts_;
};

// The running program: what the service's control handler needs to reach.
struct Program {
    Options options;
    std::unique_ptr<Application> application;
    std::unique_ptr<orders::Server> server;

    void open(std::uint16_t port) {
        WSADATA data{};
        if (const int error = WSAStartup(MAKEWORD(2, 2), &data); error != 0)
            throw std::runtime_error("Winsock error " + std::to_string(error));
        application = std::make_unique<Application>(options.workers);
        server = std::make_unique<orders::Server>(
            options.address, port, options.workers,
            [this](std::size_t worker, const orders::Request &request) { return application->handle(worker, request); });
    }
};

// Service entry points get no context argument of ours, so there is one program for the process.
Program program;
SERVICE_STATUS_HANDLE status_handle = nullptr;

void report(DWORD state, DWORD error = NO_ERROR) {
    SERVICE_STATUS status{};
    status.dwServiceType = SERVICE_WIN32_OWN_PROCESS;
    status.dwCurrentState = state;
    status.dwControlsAccepted = state == SERVICE_RUNNING ? SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_SHUTDOWN : 0;
    status.dwWin32ExitCode = error;
    status.dwWaitHint = 10'000;
    SetServiceStatus(status_handle, &status);
}

DWORD WINAPI on_control(DWORD control, DWORD, void *, void *) {
    if (control == SERVICE_CONTROL_STOP || control == SERVICE_CONTROL_SHUTDOWN) {
        report(SERVICE_STOP_PENDING);
        if (program.server)
            program.server->stop();
        return NO_ERROR;
    }
    return control == SERVICE_CONTROL_INTERROGATE ? NO_ERROR : ERROR_CALL_NOT_IMPLEMENTED;
}

std::uint16_t registry_port(const std::string &service) {
    DWORD value = 0;
    DWORD size = sizeof value;
    const std::string key = "SYSTEM\\CurrentControlSet\\Services\\" + service + "\\Parameters";
    const LSTATUS status = RegGetValueA(HKEY_LOCAL_MACHINE, key.c_str(), "Port", RRF_RT_REG_DWORD, nullptr, &value, &size);
    return status == ERROR_SUCCESS && value <= 65535 ? static_cast<std::uint16_t>(value) : default_port;
}

void WINAPI service_main(DWORD count, char **arguments) {
    const std::string name = count > 0 ? arguments[0] : "orders";
    status_handle = RegisterServiceCtrlHandlerExA(name.c_str(), on_control, nullptr);
    if (status_handle == nullptr)
        return;
    report(SERVICE_START_PENDING);
    try {
        program.open(program.options.port ? *program.options.port : registry_port(name));
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s: %s\n", name.c_str(), error.what());
        report(SERVICE_STOPPED, ERROR_SERVICE_SPECIFIC_ERROR);
        return;
    }
    report(SERVICE_RUNNING);
    program.server->run();
    program.server.reset();
    report(SERVICE_STOPPED);
}

int run_console() {
    program.open(program.options.port.value_or(default_port));
    std::printf("listening on port %u, process %lu\n", program.server->port(), GetCurrentProcessId());
    std::fflush(stdout);
    program.server->run();
    return 0;
}

} // namespace

int main(int count, char **arguments) {
    try {
        program.options = parse_options(count, arguments);
        if (program.options.console)
            return run_console();
        std::string name; // ignored by Windows for a service in its own process
        const SERVICE_TABLE_ENTRYA table[] = {{name.data(), service_main}, {nullptr, nullptr}};
        if (StartServiceCtrlDispatcherA(table) == 0) {
            std::fprintf(stderr, "not started as a service (use --console), error %lu\n", GetLastError());
            return 1;
        }
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
