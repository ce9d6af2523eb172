/* SPDX-FileCopyrightText: hotpatch.windows contributors
 * SPDX-License-Identifier: GPL-3.0-or-later */
/* wusa.exe of the lab: Wine's own wusa installs the package, this program does what Windows' servicing does around it.
 *
 * Wine's wusa unpacks the .msu and writes its files and registry values, but writes every REG_DWORD as 0, knows nothing of
 * packages that are installed already, and ends with 0 or 1 only. A package of the lab leaves its level below LAB_PENDING:
 * a hotpatch ("Apply" = "now") takes effect here, an update that needs a restart ("boot") waits for the lab's boot step. */
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>
#include <windows.h>

#define REAL_WUSA L"C:\\lab\\wine\\wine-wusa.exe"
#define REBOOT_REQUEST L"C:\\lab\\reboot-request"
#define LAB_PENDING L"Software\\hotpatch.windows\\Lab\\Pending"
#define CURRENT_VERSION L"Software\\Microsoft\\Windows NT\\CurrentVersion"
#define SERVICING L"Software\\Microsoft\\Windows\\CurrentVersion\\Component Based Servicing"
#define PACKAGE SERVICING L"\\Packages\\Package_for_%ls~31bf3856ad364e35~amd64~~10.0.1.0"
#define INSTALLED 112
#define INSTALL_PENDING 96
#define WU_S_ALREADY_INSTALLED 0x00240006

static DWORD run_real(const WCHAR *arguments) {
    WCHAR command_line[4096];
    STARTUPINFOW startup = {.cb = sizeof startup};
    PROCESS_INFORMATION process;
    DWORD code = ERROR_GEN_FAILURE;
    _snwprintf(command_line, 4095, L"\"%ls\" %ls", REAL_WUSA, arguments);
    command_line[4095] = 0;
    if (!CreateProcessW(REAL_WUSA, command_line, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process))
        return GetLastError();
    WaitForSingleObject(process.hProcess, INFINITE);
    GetExitCodeProcess(process.hProcess, &code);
    CloseHandle(process.hProcess);
    CloseHandle(process.hThread);
    return code;
}

static BOOL pending(const WCHAR *name, WCHAR *text, DWORD characters) {
    DWORD size = characters * (DWORD)sizeof(WCHAR);
    return !RegGetValueW(HKEY_LOCAL_MACHINE, LAB_PENDING, name, RRF_RT_REG_SZ, NULL, text, &size);
}

static LSTATUS set_number(const WCHAR *key, const WCHAR *name, DWORD number) {
    return RegSetKeyValueW(HKEY_LOCAL_MACHINE, key, name, REG_DWORD, &number, sizeof number);
}

static BOOL is_installed(const WCHAR *package) {
    DWORD state = 0, size = sizeof state;
    return !RegGetValueW(HKEY_LOCAL_MACHINE, package, L"CurrentState", RRF_RT_REG_DWORD, NULL, &state, &size) &&
           state == INSTALLED;
}

static DWORD apply_now(const WCHAR *package) {
    WCHAR ubr[16];
    if (pending(L"UBR", ubr, 16) && set_number(CURRENT_VERSION, L"UBR", wcstoul(ubr, NULL, 10)))
        return ERROR_INSTALL_FAILURE;
    if (set_number(package, L"CurrentState", INSTALLED))
        return ERROR_INSTALL_FAILURE;
    RegDeleteTreeW(HKEY_LOCAL_MACHINE, LAB_PENDING);
    return ERROR_SUCCESS;
}

static DWORD wait_for_boot(const WCHAR *package, BOOL restart) {
    HKEY key;
    if (set_number(package, L"CurrentState", INSTALL_PENDING))
        return ERROR_INSTALL_FAILURE;
    if (RegCreateKeyExW(HKEY_LOCAL_MACHINE, SERVICING L"\\RebootPending", 0, NULL, 0, KEY_SET_VALUE, NULL, &key, NULL))
        return ERROR_INSTALL_FAILURE;
    RegCloseKey(key);
    if (!restart)
        return ERROR_SUCCESS_REBOOT_REQUIRED;
    FILE *request = _wfopen(REBOOT_REQUEST, L"w");
    if (request) {
        fputs("0", request);
        fclose(request);
    }
    return ERROR_SUCCESS_REBOOT_INITIATED;
}

static const WCHAR *arguments_of(const WCHAR *command_line) {
    BOOL quoted = FALSE;
    while (*command_line && (quoted || *command_line != L' '))
        quoted ^= *command_line++ == L'"';
    return command_line + wcsspn(command_line, L" ");
}

int wmain(int argc, WCHAR **argv) {
    WCHAR kb[32], apply[16] = L"boot", package[256];
    BOOL restart = TRUE;
    for (int i = 1; i < argc; i++)
        restart &= wcscmp(argv[i], L"/norestart") != 0;
    DWORD code = run_real(arguments_of(GetCommandLineW()));
    if (code || !pending(L"KB", kb, 32))
        return (int)code;
    _snwprintf(package, 255, PACKAGE, kb);
    package[255] = 0;
    if (is_installed(package)) {
        RegDeleteTreeW(HKEY_LOCAL_MACHINE, LAB_PENDING);
        return WU_S_ALREADY_INSTALLED;
    }
    pending(L"Apply", apply, 16);
    return (int)(wcscmp(apply, L"now") ? wait_for_boot(package, restart) : apply_now(package));
}
