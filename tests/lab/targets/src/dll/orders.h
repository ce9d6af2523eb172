// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The interface of orders.dll: everything the order service does apart from speaking HTTP.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef ORDERS_BUILD
#define ORDERS_API __declspec(dllexport)
#else
#define ORDERS_API __declspec(dllimport)
#endif

enum orders_result { ORDERS_OK, ORDERS_BAD_REQUEST, ORDERS_UNKNOWN_SKU, ORDERS_UNKNOWN_NOTE, ORDERS_TOO_LARGE, ORDERS_NO_MEMORY };

enum customer_class { CUSTOMER_RETAIL, CUSTOMER_REGULAR, CUSTOMER_TRADE, CUSTOMER_STAFF, CUSTOMER_PARTNER, CUSTOMER_CHARITY };

struct order {
    char sku[16];
    uint32_t quantity;
    uint32_t customer; // enum customer_class
};

struct quote {
    uint64_t net_cents;
    uint64_t total_cents;
    double discount;
    uint32_t checksum;
};

typedef struct orders_context orders_context; // one for each worker thread

ORDERS_API orders_context *orders_open(void);
ORDERS_API void orders_close(orders_context *context);
ORDERS_API int orders_parse(const char *query, struct order *order);
ORDERS_API int orders_quote(const struct order *order, struct quote *quote);
ORDERS_API int orders_format(const struct order *order, const struct quote *quote, char *out, size_t capacity, size_t *length);
ORDERS_API int orders_echo(orders_context *context, const char *query, char *out, size_t capacity, size_t *length);
ORDERS_API int orders_note(const char *number, char *out, size_t capacity, size_t *length);
ORDERS_API int orders_recent(char *out, size_t capacity, size_t *length);
ORDERS_API uint32_t orders_checksum(const void *data, size_t length);
ORDERS_API const char *orders_result_text(int result);
ORDERS_API int orders_http_status(int result);
ORDERS_API uint32_t orders_ticket(uint32_t number); // a number for the customer that says nothing about its neighbours
ORDERS_API int orders_maintenance(void);            // 1 while orders are taken but not shipped

#ifdef __cplusplus
}
#endif
