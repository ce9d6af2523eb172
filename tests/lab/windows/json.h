/* SPDX-FileCopyrightText: hotpatch.windows contributors
 * SPDX-License-Identifier: GPL-3.0-or-later */
/* The little JSON that labctl prints: ASCII only, so that no console code page can change it. */
#pragma once

#include <stdio.h>
#include <windows.h>

static inline void json_string(const WCHAR *text, size_t length) {
    putchar('"');
    for (size_t i = 0; i < length; i++) {
        WCHAR c = text[i];
        if (c == '"' || c == '\\')
            printf("\\%c", (char)c);
        else if (c >= 0x20 && c < 0x7f)
            putchar((char)c);
        else
            printf("\\u%04x", (unsigned)c);
    }
    putchar('"');
}

static inline void json_text(const WCHAR *text) {
    json_string(text, wcslen(text));
}
