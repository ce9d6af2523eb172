/* SPDX-FileCopyrightText: hotpatch.windows contributors
 * SPDX-License-Identifier: GPL-3.0-or-later */
/* more.com as Windows has it when its output is no console: standard input to standard output, line by line, tabs expanded,
 * each line ended by CR LF, no paging. (Wine has no more.com, and the one inside its cmd pages even into a file.) */
#include <windows.h>

#define TAB_WIDTH 8

typedef struct {
    HANDLE file;
    DWORD used;
    char bytes[65536];
} buffer;

static BOOL flush_output(buffer *output) {
    DWORD written = 0;
    for (DWORD done = 0; done < output->used; done += written)
        if (!WriteFile(output->file, output->bytes + done, output->used - done, &written, NULL))
            return FALSE;
    output->used = 0;
    return TRUE;
}

static BOOL put(buffer *output, char c) {
    output->bytes[output->used++] = c;
    return output->used < sizeof output->bytes || flush_output(output);
}

static BOOL put_character(buffer *output, char c, unsigned *column) {
    if (c == '\r')
        return TRUE;
    if (c == '\n') {
        *column = 0;
        return put(output, '\r') && put(output, '\n');
    }
    if (c != '\t') {
        ++*column;
        return put(output, c);
    }
    do {
        if (!put(output, ' '))
            return FALSE;
    } while (++*column % TAB_WIDTH);
    return TRUE;
}

int wmain(void) {
    static buffer input, output;
    unsigned column = 0;
    BOOL good = TRUE;
    input.file = GetStdHandle(STD_INPUT_HANDLE);
    output.file = GetStdHandle(STD_OUTPUT_HANDLE);
    while (good && ReadFile(input.file, input.bytes, sizeof input.bytes, &input.used, NULL) && input.used)
        for (DWORD i = 0; good && i < input.used; i++)
            good = put_character(&output, input.bytes[i], &column);
    if (good && column)
        good = put_character(&output, '\n', &column);
    return good && flush_output(&output) ? 0 : 1;
}
