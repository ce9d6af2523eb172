/* SPDX-FileCopyrightText: hotpatch.windows contributors
 * SPDX-License-Identifier: GPL-3.0-or-later */
/* tar.exe, which Windows has since Server 2019 and Wine has not: tar -xf - -C FOLDER and tar -cf - -C FOLDER FILE.
 * Regular files and folders in ustar, pax (path and size) or GNU (long name) form. A name that leaves FOLDER is refused. */
#include <fcntl.h>
#include <io.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <windows.h>

#define BLOCK 512
#define NAME_MAX_BYTES 4096
#define END_BLOCKS 2

typedef struct {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[8], user[32], group[32],
        major[8], minor[8], prefix[155], padding[12];
} header;

typedef struct {
    char name[NAME_MAX_BYTES];
    long long size;
    BOOL has_size;
} pending; /* what a pax or GNU header says about the member that follows it */

static int fail(const char *what) {
    fprintf(stderr, "tar: %s\n", what);
    return 1;
}

static BOOL read_block(void *block) {
    return fread(block, 1, BLOCK, stdin) == BLOCK;
}

static unsigned checksum_of(const header *block) {
    unsigned sum = 0;
    const unsigned char *bytes = (const unsigned char *)block;
    size_t field = offsetof(header, checksum);
    for (size_t i = 0; i < BLOCK; i++)
        sum += i >= field && i < field + sizeof block->checksum ? ' ' : bytes[i];
    return sum;
}

static long long number_of(const char *field, size_t width) {
    long long value = 0;
    if ((unsigned char)field[0] == 0x80) { /* GNU: binary, for sizes of 8 GiB and more */
        for (size_t i = 1; i < width; i++)
            value = value << 8 | (unsigned char)field[i];
        return value;
    }
    for (size_t i = 0; i < width; i++)
        if (field[i] >= '0' && field[i] <= '7')
            value = value << 3 | (field[i] - '0');
    return value;
}

/* Reads a member's content of at most limit bytes into memory, with the padding behind it. */
static char *read_text(long long size, long long limit) {
    if (size < 0 || size > limit)
        return NULL;
    size_t padded = (size_t)((size + BLOCK - 1) / BLOCK * BLOCK);
    char *text = calloc(1, padded + 1);
    if (text && fread(text, 1, padded, stdin) != padded) {
        free(text);
        return NULL;
    }
    if (text)
        text[size] = 0;
    return text;
}

/* A pax record is "LENGTH KEY=VALUE\n"; LENGTH counts all of it. */
static BOOL read_pax(long long size, pending *next) {
    char *text = read_text(size, 1 << 20);
    if (!text)
        return FALSE;
    for (char *record = text; record < text + size;) {
        char *key = NULL;
        long length = strtol(record, &key, 10);
        if (length <= 0 || record + length > text + size)
            break;
        record[length - 1] = 0;
        if (!strncmp(key, " path=", 6))
            snprintf(next->name, sizeof next->name, "%s", key + 6);
        else if (!strncmp(key, " size=", 6)) {
            next->size = strtoll(key + 6, NULL, 10);
            next->has_size = TRUE;
        }
        record += length;
    }
    free(text);
    return TRUE;
}

static BOOL read_long_name(long long size, pending *next) {
    char *text = read_text(size, NAME_MAX_BYTES - 1);
    if (!text)
        return FALSE;
    snprintf(next->name, sizeof next->name, "%s", text);
    free(text);
    return TRUE;
}

static BOOL is_safe(const char *name) {
    if (!*name || strchr(name, ':'))
        return FALSE;
    for (const char *part = name;; part++) {
        size_t length = strcspn(part, "/\\");
        BOOL last = !part[length];
        if ((!length && !last) || (length == 2 && !strncmp(part, "..", 2)))
            return FALSE;
        if (last)
            return TRUE;
        part += length;
    }
}

static BOOL copy_in(HANDLE file, long long size) {
    static char chunk[64 * BLOCK];
    while (size > 0) {
        size_t wanted = size < (long long)sizeof chunk ? (size_t)((size + BLOCK - 1) / BLOCK * BLOCK) : sizeof chunk;
        if (fread(chunk, 1, wanted, stdin) != wanted)
            return FALSE;
        DWORD useful = (DWORD)(size < (long long)wanted ? size : (long long)wanted), written = 0;
        if (file != INVALID_HANDLE_VALUE && (!WriteFile(file, chunk, useful, &written, NULL) || written != useful)) {
            fprintf(stderr, "tar: Write failed: error %lu\n", GetLastError());
            return FALSE;
        }
        size -= useful;
    }
    return TRUE;
}

static BOOL extract_member(const WCHAR *folder, const char *name, char type, long long size) {
    WCHAR path[NAME_MAX_BYTES], wide[NAME_MAX_BYTES];
    if (!is_safe(name)) {
        fprintf(stderr, "tar: %s: Path contains '..' or is absolute\n", name);
        return FALSE;
    }
    if (!MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, name, -1, wide, NAME_MAX_BYTES))
        return FALSE;
    swprintf(path, NAME_MAX_BYTES, L"%ls\\%ls", folder, wide);
    for (WCHAR *c = path; *c; c++)
        if (*c == L'/')
            *c = L'\\';
    if (type == '5')
        return CreateDirectoryW(path, NULL) || GetLastError() == ERROR_ALREADY_EXISTS;
    HANDLE file = CreateFileW(path, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
    if (file == INVALID_HANDLE_VALUE) {
        fprintf(stderr, "tar: %s: Can't create: error %lu\n", name, GetLastError());
        return FALSE;
    }
    BOOL good = copy_in(file, size);
    CloseHandle(file);
    if (!good)
        DeleteFileW(path);
    return good;
}

static int extract(const WCHAR *folder) {
    header block;
    pending next = {0};
    unsigned members = 0;
    while (read_block(&block)) {
        if (!block.name[0])
            return members ? 0 : fail("Unrecognized archive format");
        if (checksum_of(&block) != (unsigned)number_of(block.checksum, sizeof block.checksum))
            return fail("Unrecognized archive format");
        long long size = next.has_size ? next.size : number_of(block.size, sizeof block.size);
        members++;
        if (block.type == 'x' || block.type == 'g' || block.type == 'L') {
            long long length = number_of(block.size, sizeof block.size);
            if (!(block.type == 'L' ? read_long_name(length, &next) : read_pax(length, &next)))
                return fail("Truncated input file");
            continue;
        }
        if (block.type != '0' && block.type != 0 && block.type != '5')
            return fail("Only files and folders are supported");
        if (!next.name[0])
            snprintf(next.name, sizeof next.name, block.prefix[0] ? "%.155s/%.100s" : "%.0s%.100s", block.prefix, block.name);
        if (!extract_member(folder, next.name, block.type, size))
            return fail("Error exit delayed from previous errors.");
        memset(&next, 0, sizeof next);
    }
    return fail("Truncated input file");
}

static BOOL write_header(const char *name, unsigned long long size) {
    header block = {0};
    if (strlen(name) > sizeof block.name)
        return FALSE;
    memcpy(block.name, name, strlen(name));
    memcpy(block.mode, "0000644", 8);
    memcpy(block.uid, "0000000", 8);
    memcpy(block.gid, "0000000", 8);
    snprintf(block.size, sizeof block.size, "%011llo", size);
    memcpy(block.mtime, "00000000000", 12);
    block.type = '0';
    memcpy(block.magic, "ustar\00000", 8);
    snprintf(block.checksum, sizeof block.checksum, "%06o", checksum_of(&block));
    return fwrite(&block, 1, BLOCK, stdout) == BLOCK;
}

static int create(const WCHAR *folder, const WCHAR *name) {
    static char chunk[64 * BLOCK];
    WCHAR path[NAME_MAX_BYTES];
    char narrow[NAME_MAX_BYTES];
    swprintf(path, NAME_MAX_BYTES, L"%ls\\%ls", folder, name);
    HANDLE file = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    LARGE_INTEGER size;
    if (file == INVALID_HANDLE_VALUE || !GetFileSizeEx(file, &size))
        return fail("Cannot stat: No such file or directory");
    WideCharToMultiByte(CP_UTF8, 0, name, -1, narrow, sizeof narrow, NULL, NULL);
    if (!write_header(narrow, (unsigned long long)size.QuadPart))
        return fail("Pathname too long");
    DWORD read = 0;
    while (ReadFile(file, chunk, sizeof chunk, &read, NULL) && read) {
        DWORD padded = (read + BLOCK - 1) / BLOCK * BLOCK;
        memset(chunk + read, 0, padded - read);
        if (fwrite(chunk, 1, padded, stdout) != padded)
            return fail("Write error");
    }
    CloseHandle(file);
    memset(chunk, 0, END_BLOCKS * BLOCK);
    fwrite(chunk, 1, END_BLOCKS * BLOCK, stdout);
    return fflush(stdout) ? fail("Write error") : 0;
}

int wmain(int argc, WCHAR **argv) {
    _setmode(_fileno(stdin), _O_BINARY);
    _setmode(_fileno(stdout), _O_BINARY);
    if (argc >= 5 && !wcscmp(argv[2], L"-") && !wcscmp(argv[3], L"-C")) {
        if (!wcscmp(argv[1], L"-xf") && argc == 5)
            return extract(argv[4]);
        if (!wcscmp(argv[1], L"-cf") && argc == 6)
            return create(argv[4], argv[5]);
    }
    return fail("only -xf - -C FOLDER and -cf - -C FOLDER FILE are supported");
}
