/* SPDX-FileCopyrightText: hotpatch.windows contributors
 * SPDX-License-Identifier: GPL-3.0-or-later */
/* The lab's hand inside a host: what has to be asked of Windows' own interfaces rather than guessed from Linux.
 *
 *   labctl exec SPEC           start a program with a raw command line, own folder and environment; keep its 32-bit exit code
 *   labctl control-c EVENT     ask an exec to send Ctrl+C to its program
 *   labctl hold                keep a console for an exec that joins it
 *   labctl ps                  processes, with the address of one thread's TEB (by which Linux finds the same process)
 *   labctl reg get|set|delete  one registry value
 *   labctl service ...         start, stop, state, autostart (wait for), shutdown (tell all)
 *
 * Every command but exec prints one JSON document. Exit code 0: done; 1: the Win32 error is in the document. */
#include "json.h"
#include <tlhelp32.h>
#include <winternl.h>

int command_exec(const WCHAR *spec);
int command_service(int argc, WCHAR **argv);
int command_registry(int argc, WCHAR **argv);

int failed_with(const char *what, DWORD error) {
    printf("{\"error\":%lu,\"what\":\"%s\"}\n", error, what);
    return 1;
}

/* Wine's wineserver knows the Linux process of a Windows process but tells nobody. The TEB of a thread holds the Windows
 * process id at a fixed offset, so Linux can read it from /proc/<pid>/mem at the address printed here. */
static ULONG_PTR teb_of(DWORD thread_id) {
    typedef struct {
        NTSTATUS exit_status;
        PVOID teb;
        ULONG_PTR client_id[2];
        ULONG_PTR affinity;
        LONG priority, base_priority;
    } thread_basic_information;
    thread_basic_information information = {0};
    HANDLE thread = OpenThread(THREAD_QUERY_INFORMATION, FALSE, thread_id);
    if (!thread)
        return 0;
    NTSTATUS status = NtQueryInformationThread(thread, (THREADINFOCLASS)0, &information, sizeof information, NULL);
    CloseHandle(thread);
    return status < 0 ? 0 : (ULONG_PTR)information.teb;
}

static DWORD first_thread(HANDLE snapshot, DWORD process_id) {
    THREADENTRY32 thread = {.dwSize = sizeof thread};
    for (BOOL more = Thread32First(snapshot, &thread); more; more = Thread32Next(snapshot, &thread))
        if (thread.th32OwnerProcessID == process_id)
            return thread.th32ThreadID;
    return 0;
}

static void print_image(const PROCESSENTRY32W *process) {
    WCHAR path[MAX_PATH];
    DWORD length = MAX_PATH;
    HANDLE handle = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, process->th32ProcessID);
    if (handle && QueryFullProcessImageNameW(handle, 0, path, &length))
        json_string(path, length);
    else
        json_text(process->szExeFile);
    if (handle)
        CloseHandle(handle);
}

static int command_ps(void) {
    HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS | TH32CS_SNAPTHREAD, 0);
    if (snapshot == INVALID_HANDLE_VALUE)
        return failed_with("CreateToolhelp32Snapshot", GetLastError());
    PROCESSENTRY32W process = {.dwSize = sizeof process};
    BOOL first = TRUE;
    putchar('[');
    for (BOOL more = Process32FirstW(snapshot, &process); more; more = Process32NextW(snapshot, &process)) {
        if (process.th32ProcessID == GetCurrentProcessId())
            continue;
        printf("%s{\"pid\":%lu,\"parent\":%lu,\"threads\":%lu,\"image\":", first ? "" : ",", process.th32ProcessID,
               process.th32ParentProcessID, process.cntThreads);
        print_image(&process);
        printf(",\"teb\":%llu}", (unsigned long long)teb_of(first_thread(snapshot, process.th32ProcessID)));
        first = FALSE;
    }
    CloseHandle(snapshot);
    puts("]");
    return 0;
}

static int command_control_c(const WCHAR *name) {
    HANDLE event = OpenEventW(EVENT_MODIFY_STATE, FALSE, name);
    if (!event || !SetEvent(event))
        return failed_with("SetEvent", GetLastError());
    CloseHandle(event);
    puts("{}");
    return 0;
}

int wmain(int argc, WCHAR **argv) {
    if (argc == 3 && !wcscmp(argv[1], L"exec"))
        return command_exec(argv[2]);
    if (argc == 3 && !wcscmp(argv[1], L"control-c"))
        return command_control_c(argv[2]);
    if (argc == 2 && !wcscmp(argv[1], L"hold"))
        Sleep(INFINITE);
    if (argc == 2 && !wcscmp(argv[1], L"ps"))
        return command_ps();
    if (argc >= 5 && !wcscmp(argv[1], L"reg"))
        return command_registry(argc - 2, argv + 2);
    if (argc >= 3 && !wcscmp(argv[1], L"service"))
        return command_service(argc - 2, argv + 2);
    return failed_with("usage", ERROR_INVALID_PARAMETER);
}
