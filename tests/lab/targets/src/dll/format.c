// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Answers as text.
#include <stdarg.h>
#include <stdio.h>

#include "internal.h"

// Appends to out; text that does not fit leaves length at capacity, which callers report as ORDERS_TOO_LARGE.
void append(char *out, size_t capacity, size_t *length, const char *format, ...) {
    va_list arguments;
    if (*length >= capacity)
        return;
    va_start(arguments, format);
    int written = vsnprintf(out + *length, capacity - *length, format, arguments);
    va_end(arguments);
    if (written < 0 || (size_t)written >= capacity - *length)
        *length = capacity;
    else
        *length += (size_t)written;
}

int orders_format(const struct order *order, const struct quote *quote, char *out, size_t capacity, size_t *length) {
    const struct item *item = find_item(order->sku);
    if (item == NULL)
        return ORDERS_UNKNOWN_SKU;
    *length = 0;
    append(out, capacity, length, "{\"sku\": \"%s\", \"title\": \"%s\", \"customer\": \"%s\", ", item->sku, item->title,
           customer_name(order->customer));
    append(out, capacity, length, "\"quantity\": %u, \"net_cents\": %llu, \"total_cents\": %llu, ", order->quantity,
           (unsigned long long)quote->net_cents, (unsigned long long)quote->total_cents);
    append(out, capacity, length, "\"discount\": %.4f, \"checksum\": \"%08x\"}\n", quote->discount, quote->checksum);
    return *length < capacity ? ORDERS_OK : ORDERS_TOO_LARGE;
}

int orders_note(const char *number, char *out, size_t capacity, size_t *length) {
    int64_t value = 0;
    if (parse_number(number, &value) != ORDERS_OK)
        return ORDERS_BAD_REQUEST;
    const char *text = note_text(value);
    if (text == NULL)
        return ORDERS_UNKNOWN_NOTE;
    *length = 0;
    append(out, capacity, length, "{\"note\": \"%.47s\"}\n", text);
    return *length < capacity ? ORDERS_OK : ORDERS_TOO_LARGE;
}

const char *orders_result_text(int result) {
    static const char *const texts[] = {"ok",
                                        "the request is not understood",
                                        "there is no such article",
                                        "there is no such note",
                                        "the value is too long",
                                        "the service is out of memory"};
    return result >= 0 && result < (int)(sizeof texts / sizeof texts[0]) ? texts[result] : "unknown result";
}

int orders_http_status(int result) {
    switch (result) {
    case ORDERS_OK:
        return 200;
    case ORDERS_BAD_REQUEST:
        return 400;
    case ORDERS_UNKNOWN_SKU:
    case ORDERS_UNKNOWN_NOTE:
        return 404;
    case ORDERS_TOO_LARGE:
        return 413;
    case ORDERS_NO_MEMORY:
        return 503;
    default:
        return 500;
    }
}
