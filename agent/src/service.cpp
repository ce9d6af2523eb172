// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "service.hpp"

#include <cstdio>
#include <optional>
#include <thread>

#include <windows.h>

#include "agent_context.hpp"
#include "boot.hpp"
#include "event_log.hpp"
#include "events.h"
#include "handle.hpp"
#include "pipe.hpp"
#include "protocol.hpp"
#include "service_control.hpp"
#include "text.hpp"
#include "version.hpp"
#include "watch.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

constexpr DWORD stop_hint_ms = 30'000;

// The service's one context: Windows calls back without one of ours.
struct Service {
    SERVICE_STATUS_HANDLE handle = nullptr;
    unique_handle stop{CreateEventW(nullptr, TRUE, FALSE, nullptr)};
    unique_handle wake{CreateEventW(nullptr, FALSE, FALSE, nullptr)};

    void report(DWORD state, DWORD exit_code = NO_ERROR) const {
        SERVICE_STATUS status{};
        status.dwServiceType = SERVICE_WIN32_OWN_PROCESS;
        status.dwCurrentState = state;
        status.dwControlsAccepted = state == SERVICE_RUNNING ? SERVICE_ACCEPT_STOP | SERVICE_ACCEPT_SHUTDOWN : 0;
        status.dwWin32ExitCode = exit_code;
        status.dwWaitHint = state == SERVICE_START_PENDING || state == SERVICE_STOP_PENDING ? stop_hint_ms : 0;
        SetServiceStatus(handle, &status);
    }
};

Service &service() {
    static Service instance;
    return instance;
}

DWORD WINAPI control(DWORD code, DWORD, void *, void *) {
    switch (code) {
    case SERVICE_CONTROL_STOP:
    case SERVICE_CONTROL_SHUTDOWN:
        service().report(SERVICE_STOP_PENDING);
        SetEvent(service().stop.get());
        return NO_ERROR;
    case SERVICE_CONTROL_INTERROGATE:
        return NO_ERROR;
    default:
        return ERROR_CALL_NOT_IMPLEMENTED;
    }
}

// What must be right before anything is served.
Result<Paths> prepare() {
    auto paths = Paths::of_host();
    if (!paths) {
        return paths.error();
    }
    if (const auto status = secure_folder(paths.value()); !status) {
        return status.error();
    }
    if (const auto boot = current_boot(); !boot) {
        return boot.error();
    }
    return paths;
}

Status run(const Paths &paths) {
    AgentContext context(paths, Mode::resident);
    const Identity identity = Identity::of_this_program(Mode::resident);
    context.wake = [] { SetEvent(service().wake.get()); };
    Watch watch(context, service().wake.get(), service().stop.get());
    std::thread watcher([&] { watch.run(); });
    auto status = serve_pipe(service().stop.get(), [&](std::string_view request) { return answer(context, identity, request); });
    SetEvent(service().stop.get());
    watcher.join();
    return status;
}

void WINAPI service_main(DWORD, wchar_t **) {
    service().handle = RegisterServiceCtrlHandlerExW(service_name, control, nullptr);
    if (service().handle == nullptr) {
        return;
    }
    service().report(SERVICE_START_PENDING);
    const auto paths = prepare();
    if (!paths) {
        log_event(EVENT_SERVICE_FAILED, "The agent does not start: " + paths.error().message + " [" + paths.error().where + "]");
        service().report(SERVICE_STOPPED, paths.error().win32 != 0 ? paths.error().win32 : DWORD{ERROR_SERVICE_SPECIFIC_ERROR});
        return;
    }
    service().report(SERVICE_RUNNING);
    log_event(EVENT_SERVICE_STARTED, "The agent " + std::string(agent_version) + " has started.");
    const auto status = run(paths.value());
    if (status) {
        log_event(EVENT_SERVICE_STOPPED, "The agent has stopped. What is in force in processes stays in force.");
    } else {
        log_event(EVENT_SERVICE_FAILED, "The agent ended: " + status.error().message);
    }
    service().report(SERVICE_STOPPED, status ? DWORD{NO_ERROR} : status.error().win32);
}

} // namespace

int serve() {
    std::wstring name = service_name;
    const SERVICE_TABLE_ENTRYW table[] = {{name.data(), service_main}, {nullptr, nullptr}};
    if (StartServiceCtrlDispatcherW(table) == FALSE) {
        std::fprintf(stderr, "hotpatch-agent serve is started by Windows as a service: %s\n",
                     windows_message(GetLastError()).c_str());
        return 2;
    }
    return 0;
}

} // namespace hotpatch
