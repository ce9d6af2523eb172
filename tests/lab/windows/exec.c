/* SPDX-FileCopyrightText: hotpatch.windows contributors
 * SPDX-License-Identifier: GPL-3.0-or-later */
/* labctl exec: runs one command the way a WinRM shell does.
 *
 * Linux cannot do it alone: Wine builds a command line out of an argument vector (a WinRM client sends a finished command
 * line), and a Linux exit status has 8 bits (Windows' has 32, and 3010 means "reboot needed").
 *
 * SPEC is a file of UTF-16 strings, each ended by a NUL: command line, working folder (may be empty), path for the exit
 * code, name of an event that asks for Ctrl+C (empty: no console), code page of the console (0: as it is), then NAME=VALUE
 * for the environment. The process stands in a
 * job that ends with this program, as a shell's processes end with the shell; it may break away, as Windows lets it. */
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

#define SPEC_BYTES_MAX (1u << 20)
#define CONSOLE_WAIT_MS 5000
#define CONSOLE_POLL_MS 2

int failed_with(const char *what, DWORD error);

static WCHAR *read_spec(const WCHAR *path, size_t *length) {
    HANDLE file = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return NULL;
    DWORD read = 0;
    WCHAR *text = calloc(1, SPEC_BYTES_MAX + 2 * sizeof(WCHAR));
    if (text && !ReadFile(file, text, SPEC_BYTES_MAX, &read, NULL))
        read = 0;
    CloseHandle(file);
    *length = read / sizeof(WCHAR);
    return text;
}

static WCHAR *next_string(WCHAR **position, const WCHAR *end) {
    WCHAR *here = *position;
    if (here >= end)
        return NULL;
    *position = here + wcslen(here) + 1;
    return here;
}

/* Through a second name: the reader must never see half a result. */
static void write_result(const WCHAR *path, const char *word, DWORD number) {
    WCHAR temporary[MAX_PATH];
    char line[64];
    int length = snprintf(line, sizeof line, "%s %lu\n", word, number);
    swprintf(temporary, MAX_PATH, L"%ls.new", path);
    HANDLE file = CreateFileW(temporary, GENERIC_WRITE, FILE_SHARE_READ, NULL, CREATE_ALWAYS, 0, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return;
    DWORD written;
    WriteFile(file, line, (DWORD)length, &written, NULL);
    CloseHandle(file);
    MoveFileExW(temporary, path, MOVEFILE_REPLACE_EXISTING);
}

static HANDLE make_job(void) {
    HANDLE job = CreateJobObjectW(NULL, NULL);
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {0};
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | JOB_OBJECT_LIMIT_BREAKAWAY_OK;
    if (job && !SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits)) {
        CloseHandle(job);
        return NULL;
    }
    return job;
}

static BOOL WINAPI ignore_control(DWORD event) {
    (void)event;
    return TRUE;
}

/* Gives this program, and so the command, a console without a window. One can only be had as a child that was started with
 * CREATE_NO_WINDOW: such a child is started, its console joined, and the child ended again. */
static BOOL get_console(UINT code_page) {
    WCHAR line[] = L"C:\\lab\\labctl.exe hold";
    STARTUPINFOW startup = {.cb = sizeof startup};
    PROCESS_INFORMATION holder;
    if (!CreateProcessW(NULL, line, NULL, NULL, FALSE, CREATE_NO_WINDOW, NULL, NULL, &startup, &holder))
        return FALSE;
    BOOL joined = FALSE;
    FreeConsole();
    for (unsigned waited = 0; !joined && waited < CONSOLE_WAIT_MS; waited += CONSOLE_POLL_MS) {
        joined = AttachConsole(holder.dwProcessId);
        if (!joined)
            Sleep(CONSOLE_POLL_MS);
    }
    if (joined) {
        SetConsoleCtrlHandler(ignore_control, TRUE);
        if (code_page) {
            SetConsoleCP(code_page);
            SetConsoleOutputCP(code_page);
        }
    }
    TerminateProcess(holder.hProcess, 0);
    CloseHandle(holder.hThread);
    CloseHandle(holder.hProcess);
    return joined;
}

static DWORD wait_for(const PROCESS_INFORMATION *process, HANDLE control_c) {
    HANDLE handles[2] = {process->hProcess, control_c};
    DWORD count = control_c ? 2 : 1;
    if (WaitForMultipleObjects(count, handles, FALSE, INFINITE) == WAIT_OBJECT_0 + 1) {
        GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0);
        WaitForSingleObject(process->hProcess, INFINITE);
    }
    DWORD code = 0;
    GetExitCodeProcess(process->hProcess, &code);
    return code;
}

int command_exec(const WCHAR *spec_path) {
    size_t length = 0;
    WCHAR *text = read_spec(spec_path, &length);
    if (!text)
        return failed_with("spec", GetLastError());
    WCHAR *position = text;
    const WCHAR *end = text + length;
    WCHAR *command_line = next_string(&position, end);
    WCHAR *folder = next_string(&position, end);
    WCHAR *result_path = next_string(&position, end);
    WCHAR *event_name = next_string(&position, end);
    const WCHAR *code_page = next_string(&position, end);
    if (!code_page)
        return failed_with("spec", ERROR_INVALID_DATA);
    for (WCHAR *pair = next_string(&position, end); pair; pair = next_string(&position, end)) {
        WCHAR *equals = wcschr(pair, L'=');
        if (!equals)
            return failed_with("environment", ERROR_INVALID_DATA);
        *equals = 0;
        SetEnvironmentVariableW(pair, equals[1] ? equals + 1 : NULL);
    }
    WCHAR expanded[MAX_PATH] = L"";
    ExpandEnvironmentStringsW(folder, expanded, MAX_PATH);
    HANDLE job = make_job();
    HANDLE control_c = *event_name ? CreateEventW(NULL, TRUE, FALSE, event_name) : NULL;
    HANDLE input = GetStdHandle(STD_INPUT_HANDLE), output = GetStdHandle(STD_OUTPUT_HANDLE),
           error = GetStdHandle(STD_ERROR_HANDLE);
    /* Joining a console may put its handles in the place of the ones that were given. */
    if (*event_name)
        get_console((UINT)wcstoul(code_page, NULL, 10));
    STARTUPINFOW startup = {.cb = sizeof startup, .dwFlags = STARTF_USESTDHANDLES};
    startup.hStdInput = input;
    startup.hStdOutput = output;
    startup.hStdError = error;
    PROCESS_INFORMATION process;
    if (!CreateProcessW(NULL, command_line, NULL, NULL, TRUE, CREATE_SUSPENDED, NULL, *expanded ? expanded : NULL, &startup,
                        &process)) {
        write_result(result_path, "error", GetLastError());
        return 1;
    }
    write_result(result_path, "started", process.dwProcessId);
    AssignProcessToJobObject(job, process.hProcess);
    ResumeThread(process.hThread);
    /* The command alone may hold its streams: the far end must see the end of output when it has gone. */
    CloseHandle(startup.hStdInput);
    CloseHandle(startup.hStdOutput);
    CloseHandle(startup.hStdError);
    DWORD code = wait_for(&process, control_c);
    write_result(result_path, "exit", code);
    return (int)code;
}
