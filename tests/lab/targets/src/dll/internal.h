// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What the files of orders.dll share with each other and nobody else sees.
#pragma once

#include "orders.h"

#define REFERENCE_SIZE 64
#define SIGNING_KEY_SIZE 40
#define NOTE_SIZE 48
#define NOTE_COUNT 6
#define RECENT_COUNT 32

// The client's reference is kept in front of the key that signs receipts: a read past its end is a read of the key.
struct orders_context {
    char reference[REFERENCE_SIZE];
    char signing_key[SIGNING_KEY_SIZE];
    uint64_t echoed;
};

struct item {
    const char *sku;
    const char *title;
    uint32_t price_cents;
    uint32_t bulk_from;
};

// One finished order as the ring of recent orders keeps it.
struct recent_order {
    uint32_t number;
    uint32_t quantity;
    uint64_t total_cents;
    char sku[16];
};

extern const char signing_key[SIGNING_KEY_SIZE];

const struct item *find_item(const char *sku);
int query_value(const char *query, const char *name, char *out, size_t capacity, size_t *length);
int parse_number(const char *text, int64_t *number);
double discount_rate(uint32_t customer, uint32_t quantity, uint32_t bulk_from);
const char *customer_name(uint32_t customer);
const char *note_text(int64_t number);
void remember_order(const struct order *order, const struct quote *quote);
void append(char *out, size_t capacity, size_t *length, const char *format, ...) __attribute__((format(gnu_printf, 4, 5)));
