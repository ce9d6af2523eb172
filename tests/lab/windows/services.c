/* SPDX-FileCopyrightText: hotpatch.windows contributors
 * SPDX-License-Identifier: GPL-3.0-or-later */
/* labctl service state NAME | start NAME | stop NAME | autostart | shutdown
 * autostart waits until no service that starts by itself is still on its way; shutdown stops every service of ours, as the
 * service control manager does when Windows goes down. Both are bounded. */
#include "json.h"

#define POLL_MS 20
#define WAIT_MS 30000

int failed_with(const char *what, DWORD error);

static const char *state_name(DWORD state) {
    static const char *const names[] = {"unknown", "stopped",          "start_pending", "stop_pending",
                                        "running", "continue_pending", "pause_pending", "paused"};
    return names[state < 8 ? state : 0];
}

static BOOL query(SC_HANDLE service, SERVICE_STATUS_PROCESS *status) {
    DWORD needed;
    return QueryServiceStatusEx(service, SC_STATUS_PROCESS_INFO, (BYTE *)status, sizeof *status, &needed);
}

static int print_state(SC_HANDLE service) {
    SERVICE_STATUS_PROCESS status;
    if (!query(service, &status))
        return failed_with("QueryServiceStatusEx", GetLastError());
    printf("{\"state\":\"%s\",\"pid\":%lu,\"exit\":%lu}\n", state_name(status.dwCurrentState), status.dwProcessId,
           status.dwWin32ExitCode);
    return 0;
}

static void wait_while(SC_HANDLE service, DWORD pending) {
    SERVICE_STATUS_PROCESS status;
    for (DWORD waited = 0; waited < WAIT_MS && query(service, &status) && status.dwCurrentState == pending; waited += POLL_MS)
        Sleep(POLL_MS);
}

static int change(SC_HANDLE manager, const WCHAR *verb, const WCHAR *name) {
    SC_HANDLE service = OpenServiceW(manager, name, SERVICE_ALL_ACCESS);
    if (!service)
        return failed_with("OpenService", GetLastError());
    SERVICE_STATUS ignored;
    if (!wcscmp(verb, L"start")) {
        if (!StartServiceW(service, 0, NULL) && GetLastError() != ERROR_SERVICE_ALREADY_RUNNING)
            return failed_with("StartService", GetLastError());
        wait_while(service, SERVICE_START_PENDING);
    } else if (!wcscmp(verb, L"stop")) {
        if (!ControlService(service, SERVICE_CONTROL_STOP, &ignored) && GetLastError() != ERROR_SERVICE_NOT_ACTIVE)
            return failed_with("ControlService", GetLastError());
        wait_while(service, SERVICE_STOP_PENDING);
    }
    int result = print_state(service);
    CloseServiceHandle(service);
    return result;
}

typedef BOOL (*service_visitor)(SC_HANDLE manager, const ENUM_SERVICE_STATUS_PROCESSW *service);

/* Calls visit for each Win32 service and returns how many calls answered TRUE. */
static DWORD for_each_service(SC_HANDLE manager, service_visitor visit) {
    static BYTE buffer[256 * 1024];
    DWORD needed = 0, count = 0, resume = 0, yes = 0;
    if (!EnumServicesStatusExW(manager, SC_ENUM_PROCESS_INFO, SERVICE_WIN32, SERVICE_STATE_ALL, buffer, sizeof buffer, &needed,
                               &count, &resume, NULL))
        return 0;
    const ENUM_SERVICE_STATUS_PROCESSW *services = (const ENUM_SERVICE_STATUS_PROCESSW *)buffer;
    for (DWORD i = 0; i < count; i++)
        yes += visit(manager, &services[i]) ? 1 : 0;
    return yes;
}

static BOOL starts_by_itself(SC_HANDLE service) {
    static BYTE buffer[8192];
    DWORD needed;
    const QUERY_SERVICE_CONFIGW *config = (const QUERY_SERVICE_CONFIGW *)buffer;
    return QueryServiceConfigW(service, (QUERY_SERVICE_CONFIGW *)buffer, sizeof buffer, &needed) &&
           config->dwStartType == SERVICE_AUTO_START;
}

/* A service that has never run since the boot shows ERROR_SERVICE_NEVER_STARTED: it is still to come. */
static BOOL still_coming(SC_HANDLE manager, const ENUM_SERVICE_STATUS_PROCESSW *service) {
    const SERVICE_STATUS_PROCESS *status = &service->ServiceStatusProcess;
    if (status->dwCurrentState == SERVICE_RUNNING)
        return FALSE;
    SC_HANDLE handle = OpenServiceW(manager, service->lpServiceName, SERVICE_QUERY_CONFIG);
    if (!handle)
        return FALSE;
    BOOL automatic = starts_by_itself(handle);
    CloseServiceHandle(handle);
    return automatic &&
           (status->dwCurrentState == SERVICE_START_PENDING || status->dwWin32ExitCode == ERROR_SERVICE_NEVER_STARTED);
}

static BOOL tell_shutdown(SC_HANDLE manager, const ENUM_SERVICE_STATUS_PROCESSW *service) {
    if (service->ServiceStatusProcess.dwCurrentState != SERVICE_RUNNING)
        return FALSE;
    SC_HANDLE handle = OpenServiceW(manager, service->lpServiceName, SERVICE_STOP);
    if (!handle)
        return FALSE;
    SERVICE_STATUS ignored;
    BOOL told = ControlService(handle, SERVICE_CONTROL_STOP, &ignored);
    CloseServiceHandle(handle);
    return told;
}

static BOOL still_stopping(SC_HANDLE manager, const ENUM_SERVICE_STATUS_PROCESSW *service) {
    (void)manager;
    return service->ServiceStatusProcess.dwCurrentState == SERVICE_STOP_PENDING;
}

static DWORD wait_until_none(SC_HANDLE manager, service_visitor visit) {
    DWORD left = for_each_service(manager, visit);
    for (DWORD waited = 0; waited < WAIT_MS && left; waited += POLL_MS) {
        Sleep(POLL_MS);
        left = for_each_service(manager, visit);
    }
    return left;
}

int command_service(int argc, WCHAR **argv) {
    SC_HANDLE manager = OpenSCManagerW(NULL, NULL, SC_MANAGER_ALL_ACCESS);
    if (!manager)
        return failed_with("OpenSCManager", GetLastError());
    if (!wcscmp(argv[0], L"autostart")) {
        printf("{\"left\":%lu}\n", wait_until_none(manager, still_coming));
        return 0;
    }
    if (!wcscmp(argv[0], L"shutdown")) {
        DWORD told = for_each_service(manager, tell_shutdown);
        printf("{\"told\":%lu,\"left\":%lu}\n", told, wait_until_none(manager, still_stopping));
        return 0;
    }
    if (argc == 2)
        return change(manager, argv[0], argv[1]);
    return failed_with("usage", ERROR_INVALID_PARAMETER);
}
