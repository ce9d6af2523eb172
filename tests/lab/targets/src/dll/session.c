// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What the service keeps for one worker: the client's reference, and the key that signs receipts.
#include <windows.h>

#include <string.h>

#include "internal.h"

const char signing_key[SIGNING_KEY_SIZE] = "rk-live-7f3a9c52d1e84b06a5c7e9f1b2d40863";

orders_context *orders_open(void) {
    orders_context *context = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof *context);
    if (context != NULL)
        memcpy(context->signing_key, signing_key, sizeof context->signing_key);
    return context;
}

void orders_close(orders_context *context) {
    if (context != NULL)
        HeapFree(GetProcessHeap(), 0, context);
}

// Sends the client's reference back, as many bytes as the client says it is long.
int orders_echo(orders_context *context, const char *query, char *out, size_t capacity, size_t *length) {
    char text[16];
    size_t given = 0;
    size_t digits = 0;
    int64_t claimed = 0;
    int result = query_value(query, "reference", context->reference, sizeof context->reference, &given);
    if (result != ORDERS_OK)
        return result;
    result = query_value(query, "length", text, sizeof text, &digits);
    if (result != ORDERS_OK || parse_number(text, &claimed) != ORDERS_OK || claimed < 0)
        return ORDERS_BAD_REQUEST;
    if ((size_t)claimed > capacity)
        return ORDERS_TOO_LARGE;
    memcpy(out, context->reference, (size_t)claimed);
    *length = (size_t)claimed;
    context->echoed += *length;
    return ORDERS_OK;
}
