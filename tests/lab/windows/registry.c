/* SPDX-FileCopyrightText: hotpatch.windows contributors
 * SPDX-License-Identifier: GPL-3.0-or-later */
/* labctl reg get KEY NAME | set KEY NAME dword|sz DATA | delete KEY NAME | delete-key KEY -
 * KEY starts with HKLM\ or HKCU\. A missing value is {"value":null}, not an error. */
#include "json.h"
#include <stdlib.h>

int failed_with(const char *what, DWORD error);

static HKEY split_root(const WCHAR *key, const WCHAR **rest) {
    *rest = key + 5;
    if (!wcsncmp(key, L"HKLM\\", 5))
        return HKEY_LOCAL_MACHINE;
    if (!wcsncmp(key, L"HKCU\\", 5))
        return HKEY_CURRENT_USER;
    return NULL;
}

static int get_value(HKEY root, const WCHAR *key, const WCHAR *name) {
    static BYTE data[65536];
    DWORD type = 0, size = sizeof data - 2 * sizeof(WCHAR);
    HKEY handle;
    LSTATUS status = RegOpenKeyExW(root, key, 0, KEY_QUERY_VALUE, &handle);
    if (!status) {
        status = RegQueryValueExW(handle, name, NULL, &type, data, &size);
        RegCloseKey(handle);
    }
    if (status == ERROR_FILE_NOT_FOUND) {
        puts("{\"value\":null}");
        return 0;
    }
    if (status)
        return failed_with("RegQueryValueEx", (DWORD)status);
    if (type == REG_DWORD)
        printf("{\"value\":%lu}\n", *(DWORD *)data);
    else if (type == REG_SZ || type == REG_EXPAND_SZ) {
        printf("{\"value\":");
        json_text((const WCHAR *)data);
        puts("}");
    } else
        return failed_with("type", type);
    return 0;
}

static int set_value(HKEY root, const WCHAR *key, const WCHAR *name, const WCHAR *type, const WCHAR *data) {
    HKEY handle;
    LSTATUS status = RegCreateKeyExW(root, key, 0, NULL, 0, KEY_SET_VALUE, NULL, &handle, NULL);
    if (status)
        return failed_with("RegCreateKeyEx", (DWORD)status);
    if (!wcscmp(type, L"dword")) {
        DWORD number = wcstoul(data, NULL, 0);
        status = RegSetValueExW(handle, name, 0, REG_DWORD, (const BYTE *)&number, sizeof number);
    } else
        status = RegSetValueExW(handle, name, 0, REG_SZ, (const BYTE *)data, (DWORD)((wcslen(data) + 1) * sizeof(WCHAR)));
    RegCloseKey(handle);
    if (status)
        return failed_with("RegSetValueEx", (DWORD)status);
    puts("{}");
    return 0;
}

static int delete_value(HKEY root, const WCHAR *key, const WCHAR *name) {
    HKEY handle;
    LSTATUS status = RegOpenKeyExW(root, key, 0, KEY_SET_VALUE, &handle);
    if (!status) {
        status = RegDeleteValueW(handle, name);
        RegCloseKey(handle);
    }
    if (status && status != ERROR_FILE_NOT_FOUND)
        return failed_with("RegDeleteValue", (DWORD)status);
    puts("{}");
    return 0;
}

int command_registry(int argc, WCHAR **argv) {
    const WCHAR *key;
    HKEY root = split_root(argv[1], &key);
    if (!root)
        return failed_with("key", ERROR_INVALID_PARAMETER);
    if (!wcscmp(argv[0], L"get"))
        return get_value(root, key, argv[2]);
    if (!wcscmp(argv[0], L"set") && argc == 5)
        return set_value(root, key, argv[2], argv[3], argv[4]);
    if (!wcscmp(argv[0], L"delete"))
        return delete_value(root, key, argv[2]);
    if (!wcscmp(argv[0], L"delete-key")) {
        LSTATUS status = RegDeleteTreeW(root, key);
        if (status && status != ERROR_FILE_NOT_FOUND)
            return failed_with("RegDeleteTree", (DWORD)status);
        puts("{}");
        return 0;
    }
    return failed_with("usage", ERROR_INVALID_PARAMETER);
}
