// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The ring of recent orders: static state that lives as long as the process.
#include <windows.h>

#include <string.h>

#include "internal.h"

static struct recent_order ring[RECENT_COUNT];
static uint32_t last_number = 1000;
static SRWLOCK ring_lock = SRWLOCK_INIT;

void remember_order(const struct order *order, const struct quote *quote) {
    AcquireSRWLockExclusive(&ring_lock);
    struct recent_order *slot = &ring[last_number % RECENT_COUNT];
    slot->number = ++last_number;
    slot->quantity = order->quantity;
    slot->total_cents = quote->total_cents;
    memcpy(slot->sku, order->sku, sizeof slot->sku);
    ReleaseSRWLockExclusive(&ring_lock);
}

int orders_recent(char *out, size_t capacity, size_t *length) {
    *length = 0;
    append(out, capacity, length, "{\"recent\": [");
    AcquireSRWLockShared(&ring_lock);
    const char *separator = "";
    for (uint32_t i = 0; i < RECENT_COUNT; ++i) {
        const struct recent_order *slot = &ring[(last_number + i) % RECENT_COUNT];
        if (slot->number == 0)
            continue;
        append(out, capacity, length, "%s{\"number\": %u, \"sku\": \"%s\", \"quantity\": %u, \"total_cents\": %llu}", separator,
               slot->number, slot->sku, slot->quantity, (unsigned long long)slot->total_cents);
        separator = ", ";
    }
    ReleaseSRWLockShared(&ring_lock);
    append(out, capacity, length, "]}\n");
    return *length < capacity ? ORDERS_OK : ORDERS_TOO_LARGE;
}

int orders_maintenance(void) {
    return 0;
}
