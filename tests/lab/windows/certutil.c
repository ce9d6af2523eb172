/* SPDX-FileCopyrightText: hotpatch.windows contributors
 * SPDX-License-Identifier: GPL-3.0-or-later */
/* certutil.exe, as far as files are transferred with it: certutil [-f] -decode IN OUT, certutil -hashfile FILE [ALGORITHM].
 * Texts and exit codes (an HRESULT) are those of Windows. Wine's own certutil does nothing and reports success. */
#include <windows.h>

#include <bcrypt.h>
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>
#include <wincrypt.h>

#define HASH_MAX 64

static int report(const WCHAR *verb, DWORD error) {
    if (!error) {
        wprintf(L"CertUtil: %ls command completed successfully.\n", verb);
        return 0;
    }
    wprintf(L"CertUtil: %ls command FAILED: 0x%08lx (WIN32: %lu)\n", verb, HRESULT_FROM_WIN32(error), error);
    return HRESULT_FROM_WIN32(error);
}

static DWORD read_file(const WCHAR *path, char **text, DWORD *length) {
    HANDLE file = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return GetLastError();
    LARGE_INTEGER size;
    DWORD error = ERROR_SUCCESS;
    if (!GetFileSizeEx(file, &size) || size.HighPart)
        error = ERROR_FILE_TOO_LARGE;
    else if (!(*text = malloc(size.LowPart + 1u)))
        error = ERROR_NOT_ENOUGH_MEMORY;
    else if (!ReadFile(file, *text, size.LowPart, length, NULL))
        error = GetLastError();
    CloseHandle(file);
    return error;
}

static DWORD write_file(const WCHAR *path, BOOL overwrite, const BYTE *data, DWORD length) {
    HANDLE file = CreateFileW(path, GENERIC_WRITE, 0, NULL, overwrite ? CREATE_ALWAYS : CREATE_NEW, 0, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return GetLastError();
    DWORD written = 0;
    DWORD error = WriteFile(file, data, length, &written, NULL) ? ERROR_SUCCESS : GetLastError();
    CloseHandle(file);
    return error;
}

static DWORD decode(const WCHAR *input, const WCHAR *output, BOOL overwrite) {
    char *text = NULL;
    DWORD text_length = 0, length = 0;
    DWORD error = read_file(input, &text, &text_length);
    if (error)
        return error;
    BYTE *data = malloc(text_length + 1u);
    length = text_length;
    if (!data)
        error = ERROR_NOT_ENOUGH_MEMORY;
    else if (!CryptStringToBinaryA(text, text_length, CRYPT_STRING_BASE64_ANY, data, &length, NULL, NULL))
        error = ERROR_INVALID_DATA;
    else
        error = write_file(output, overwrite, data, length);
    if (!error)
        wprintf(L"Input Length = %lu\nOutput Length = %lu\n", text_length, length);
    free(data);
    free(text);
    return error;
}

static DWORD digest_file(HANDLE file, BCRYPT_HASH_HANDLE hash) {
    static BYTE chunk[65536];
    DWORD read = 0;
    do {
        if (!ReadFile(file, chunk, sizeof chunk, &read, NULL))
            return GetLastError();
        if (BCryptHashData(hash, chunk, read, 0) < 0)
            return ERROR_INTERNAL_ERROR;
    } while (read);
    return ERROR_SUCCESS;
}

static DWORD hash_file(const WCHAR *path, const WCHAR *algorithm) {
    BCRYPT_ALG_HANDLE provider = NULL;
    BCRYPT_HASH_HANDLE hash = NULL;
    BYTE digest[HASH_MAX];
    DWORD length = 0, got = 0;
    HANDLE file = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    if (file == INVALID_HANDLE_VALUE)
        return GetLastError();
    DWORD error = ERROR_INVALID_PARAMETER;
    if (BCryptOpenAlgorithmProvider(&provider, algorithm, NULL, 0) >= 0 &&
        BCryptGetProperty(provider, BCRYPT_HASH_LENGTH, (BYTE *)&length, sizeof length, &got, 0) >= 0 && length <= HASH_MAX &&
        BCryptCreateHash(provider, &hash, NULL, 0, NULL, 0, 0) >= 0)
        error = digest_file(file, hash);
    if (!error && BCryptFinishHash(hash, digest, length, 0) < 0)
        error = ERROR_INTERNAL_ERROR;
    if (!error) {
        wprintf(L"%ls hash of %ls:\n", algorithm, path);
        for (DWORD i = 0; i < length; i++)
            wprintf(L"%02x", digest[i]);
        wprintf(L"\n");
    }
    if (hash)
        BCryptDestroyHash(hash);
    if (provider)
        BCryptCloseAlgorithmProvider(provider, 0);
    CloseHandle(file);
    return error;
}

int wmain(int argc, WCHAR **argv) {
    int next = 1;
    BOOL overwrite = argc > next && !_wcsicmp(argv[next], L"-f");
    if (overwrite)
        next++;
    const WCHAR *verb = argc > next ? argv[next] : L"";
    int left = argc - next - 1;
    if (!_wcsicmp(verb, L"-decode") && left == 2)
        return report(L"-decode", decode(argv[next + 1], argv[next + 2], overwrite));
    if (!_wcsicmp(verb, L"-hashfile") && (left == 1 || left == 2))
        return report(L"-hashfile", hash_file(argv[next + 1], left == 2 ? argv[next + 2] : L"SHA1"));
    return report(verb, ERROR_INVALID_PARAMETER);
}
