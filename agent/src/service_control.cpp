// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "service_control.hpp"

#include <array>
#include <vector>

#include <windows.h>

#include "handle.hpp"
#include "registry.hpp"
#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

constexpr const wchar_t *display_name = L"hotpatch.windows agent";
constexpr const wchar_t *description = L"Keeps security fixes in force in the memory of running processes and tells their state. "
                                       L"Part of the Ansible collection hotpatch.windows.";
constexpr const wchar_t *event_source = L"SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application\\hotpatch-agent";
constexpr DWORD wait_limit_ms = 60'000;
constexpr DWORD pause_ms = 50;

Error service_error(const char *what) {
    return last_error(Code::agent_internal, what, to_utf8(service_name));
}

unique_service open_manager(DWORD access) {
    return unique_service(OpenSCManagerW(nullptr, nullptr, access));
}

// The program of `"C:\…\hotpatch-agent.exe" serve`.
std::wstring program_of(const std::wstring &command_line) {
    if (!command_line.starts_with(L'"')) {
        return command_line.substr(0, command_line.find(L' '));
    }
    const auto end = command_line.find(L'"', 1);
    return command_line.substr(1, end == std::wstring::npos ? end : end - 1);
}

Result<std::wstring> configured_program(SC_HANDLE service) {
    DWORD needed = 0;
    QueryServiceConfigW(service, nullptr, 0, &needed);
    std::vector<std::uint64_t> buffer(needed / sizeof(std::uint64_t) + 1); // aligned for the structure
    auto *config = reinterpret_cast<QUERY_SERVICE_CONFIGW *>(buffer.data());
    if (QueryServiceConfigW(service, config, static_cast<DWORD>(buffer.size() * sizeof(std::uint64_t)), &needed) == FALSE) {
        return service_error("The service's configuration cannot be read");
    }
    return program_of(config->lpBinaryPathName);
}

Result<SERVICE_STATUS_PROCESS> status_of(SC_HANDLE service) {
    SERVICE_STATUS_PROCESS status{};
    DWORD needed = 0;
    if (QueryServiceStatusEx(service, SC_STATUS_PROCESS_INFO, reinterpret_cast<BYTE *>(&status), sizeof status, &needed) ==
        FALSE) {
        return service_error("The service's state cannot be read");
    }
    return status;
}

// Waits while the service is on its way; gives where it ended up.
Result<SERVICE_STATUS_PROCESS> settled(SC_HANDLE service, DWORD on_its_way) {
    for (DWORD waited = 0;; waited += pause_ms) {
        const auto status = status_of(service);
        if (!status || status.value().dwCurrentState != on_its_way || waited >= wait_limit_ms) {
            return status;
        }
        Sleep(pause_ms);
    }
}

// Restarted after 5 seconds, then after a minute, again and again; the count starts anew after a day without trouble.
Status set_recovery(SC_HANDLE service) {
    constexpr DWORD day_s = 24 * 60 * 60;
    std::array<SC_ACTION, 2> actions{{{SC_ACTION_RESTART, 5000}, {SC_ACTION_RESTART, 60'000}}};
    SERVICE_FAILURE_ACTIONSW recovery{};
    recovery.dwResetPeriod = day_s;
    recovery.cActions = static_cast<DWORD>(actions.size());
    recovery.lpsaActions = actions.data();
    if (ChangeServiceConfig2W(service, SERVICE_CONFIG_FAILURE_ACTIONS, &recovery) == FALSE) {
        return service_error("The service's recovery cannot be set");
    }
    return Unit{};
}

Status set_description(SC_HANDLE service) {
    SERVICE_DESCRIPTIONW words{const_cast<LPWSTR>(description)};
    if (ChangeServiceConfig2W(service, SERVICE_CONFIG_DESCRIPTION, &words) == FALSE) {
        return service_error("The service's description cannot be set");
    }
    return Unit{};
}

Status register_event_source(const std::wstring &program) {
    constexpr std::uint64_t all_types = EVENTLOG_ERROR_TYPE | EVENTLOG_WARNING_TYPE | EVENTLOG_INFORMATION_TYPE;
    auto status = registry::write(event_source, L"EventMessageFile", to_utf8(program));
    return status ? registry::write(event_source, L"TypesSupported", all_types) : status;
}

} // namespace

Result<std::optional<ServiceInfo>> query_service() {
    const auto manager = open_manager(SC_MANAGER_CONNECT);
    if (!manager) {
        return service_error("The service control manager cannot be reached");
    }
    const unique_service service(OpenServiceW(manager.get(), service_name, SERVICE_QUERY_STATUS | SERVICE_QUERY_CONFIG));
    if (!service) {
        if (GetLastError() == ERROR_SERVICE_DOES_NOT_EXIST) {
            return std::optional<ServiceInfo>();
        }
        return service_error("The service cannot be opened");
    }
    const auto status = status_of(service.get());
    if (!status) {
        return status.error();
    }
    auto program = configured_program(service.get());
    if (!program) {
        return program.error();
    }
    return std::optional(ServiceInfo{status.value().dwCurrentState, status.value().dwProcessId, std::move(program).value()});
}

std::string state_name(const std::optional<ServiceInfo> &service) {
    switch (service ? service->state : 0) {
    case 0:
        return "absent";
    case SERVICE_STOPPED:
        return "stopped";
    case SERVICE_START_PENDING:
        return "start_pending";
    case SERVICE_STOP_PENDING:
        return "stop_pending";
    case SERVICE_RUNNING:
        return "running";
    default:
        return "other";
    }
}

Status configure_service(const std::wstring &program) {
    const std::wstring command = L"\"" + program + L"\" serve";
    const auto manager = open_manager(SC_MANAGER_CONNECT | SC_MANAGER_CREATE_SERVICE);
    if (!manager) {
        return service_error("The service control manager cannot be reached");
    }
    unique_service service(OpenServiceW(manager.get(), service_name, SERVICE_ALL_ACCESS));
    if (!service && GetLastError() == ERROR_SERVICE_DOES_NOT_EXIST) {
        service.reset(CreateServiceW(manager.get(), service_name, display_name, SERVICE_ALL_ACCESS, SERVICE_WIN32_OWN_PROCESS,
                                     SERVICE_AUTO_START, SERVICE_ERROR_NORMAL, command.c_str(), nullptr, nullptr, nullptr,
                                     nullptr, nullptr));
    } else if (service &&
               ChangeServiceConfigW(service.get(), SERVICE_WIN32_OWN_PROCESS, SERVICE_AUTO_START, SERVICE_ERROR_NORMAL,
                                    command.c_str(), nullptr, nullptr, nullptr, L"LocalSystem", nullptr, display_name) == FALSE) {
        return service_error("The service cannot be configured");
    }
    if (!service) {
        return service_error("The service cannot be created");
    }
    auto status = set_description(service.get());
    if (status) {
        status = set_recovery(service.get());
    }
    return status ? register_event_source(program) : status;
}

Status start_service() {
    const auto manager = open_manager(SC_MANAGER_CONNECT);
    const unique_service service(manager ? OpenServiceW(manager.get(), service_name, SERVICE_START | SERVICE_QUERY_STATUS)
                                         : nullptr);
    if (!service) {
        return service_error("The service cannot be opened");
    }
    if (StartServiceW(service.get(), 0, nullptr) == FALSE && GetLastError() != ERROR_SERVICE_ALREADY_RUNNING) {
        return service_error("The service cannot be started");
    }
    const auto status = settled(service.get(), SERVICE_START_PENDING);
    if (!status) {
        return status.error();
    }
    if (status.value().dwCurrentState != SERVICE_RUNNING) {
        return windows_error(Code::agent_service_stopped, "The service ended while it started", to_utf8(service_name),
                             status.value().dwWin32ExitCode);
    }
    return Unit{};
}

Status stop_service() {
    const auto manager = open_manager(SC_MANAGER_CONNECT);
    const unique_service service(manager ? OpenServiceW(manager.get(), service_name, SERVICE_STOP | SERVICE_QUERY_STATUS)
                                         : nullptr);
    if (!service) {
        if (GetLastError() == ERROR_SERVICE_DOES_NOT_EXIST) {
            return Unit{};
        }
        return service_error("The service cannot be opened");
    }
    const auto before = settled(service.get(), SERVICE_START_PENDING);
    if (!before) {
        return before.error();
    }
    const unique_handle process(before.value().dwProcessId != 0 ? OpenProcess(SYNCHRONIZE, FALSE, before.value().dwProcessId)
                                                                : nullptr);
    SERVICE_STATUS ignored{};
    if (ControlService(service.get(), SERVICE_CONTROL_STOP, &ignored) == FALSE && GetLastError() != ERROR_SERVICE_NOT_ACTIVE &&
        GetLastError() != ERROR_SERVICE_CANNOT_ACCEPT_CTRL) {
        return service_error("The service cannot be stopped");
    }
    const auto after = settled(service.get(), SERVICE_STOP_PENDING);
    if (!after) {
        return after.error();
    }
    if (after.value().dwCurrentState != SERVICE_STOPPED) {
        return windows_error(Code::agent_internal, "The service does not stop", to_utf8(service_name),
                             ERROR_SERVICE_REQUEST_TIMEOUT);
    }
    // "Stopped" is said before the process is gone; its files are free only after that.
    if (process) {
        WaitForSingleObject(process.get(), wait_limit_ms);
    }
    return Unit{};
}

Status remove_service() {
    const auto manager = open_manager(SC_MANAGER_CONNECT);
    const unique_service service(manager ? OpenServiceW(manager.get(), service_name, DELETE) : nullptr);
    if (!service || DeleteService(service.get()) == FALSE) {
        const DWORD number = GetLastError();
        if (number != ERROR_SERVICE_DOES_NOT_EXIST && number != ERROR_SERVICE_MARKED_FOR_DELETE) {
            return windows_error(Code::agent_internal, "The service cannot be removed", to_utf8(service_name), number);
        }
    }
    return registry::remove_key(event_source);
}

} // namespace hotpatch
