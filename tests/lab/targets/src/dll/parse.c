// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Query strings and numbers as clients send them.
#include <string.h>

#include "internal.h"

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

// Percent-decodes one value up to '&' or the end; a value that does not fit is refused.
static int decode_value(const char *text, char *out, size_t capacity, size_t *length) {
    size_t used = 0;
    while (*text != '\0' && *text != '&') {
        char c = *text++;
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            int high = hex_digit(text[0]);
            int low = high < 0 ? -1 : hex_digit(text[1]);
            if (low < 0)
                return ORDERS_BAD_REQUEST;
            c = (char)(high * 16 + low);
            text += 2;
        }
        if (used + 1 >= capacity)
            return ORDERS_TOO_LARGE;
        out[used++] = c;
    }
    out[used] = '\0';
    *length = used;
    return ORDERS_OK;
}

int query_value(const char *query, const char *name, char *out, size_t capacity, size_t *length) {
    size_t name_length = strlen(name);
    for (const char *pair = query; pair != NULL; pair = strchr(pair, '&')) {
        if (*pair == '&')
            ++pair;
        if (strncmp(pair, name, name_length) == 0 && pair[name_length] == '=')
            return decode_value(pair + name_length + 1, out, capacity, length);
    }
    return ORDERS_BAD_REQUEST;
}

int parse_number(const char *text, int64_t *number) {
    int negative = *text == '-';
    int64_t value = 0;
    if (negative)
        ++text;
    if (*text == '\0')
        return ORDERS_BAD_REQUEST;
    for (; *text != '\0'; ++text) {
        if (*text < '0' || *text > '9' || value > 100000000)
            return ORDERS_BAD_REQUEST;
        value = value * 10 + (*text - '0');
    }
    *number = negative ? -value : value;
    return ORDERS_OK;
}

int orders_parse(const char *query, struct order *order) {
    char text[16];
    size_t length = 0;
    int64_t number = 0;
    memset(order, 0, sizeof *order);
    int result = query_value(query, "sku", order->sku, sizeof order->sku, &length);
    if (result != ORDERS_OK)
        return result;
    result = query_value(query, "quantity", text, sizeof text, &length);
    if (result != ORDERS_OK)
        return result;
    if (parse_number(text, &number) != ORDERS_OK || number < 1 || number > 10000)
        return ORDERS_BAD_REQUEST;
    order->quantity = (uint32_t)number;
    if (query_value(query, "customer", text, sizeof text, &length) == ORDERS_OK) {
        if (parse_number(text, &number) != ORDERS_OK || number < 0 || number > CUSTOMER_CHARITY)
            return ORDERS_BAD_REQUEST;
        order->customer = (uint32_t)number;
    }
    return ORDERS_OK;
}
