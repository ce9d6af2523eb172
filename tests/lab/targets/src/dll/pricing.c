// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What an order costs.
#include "internal.h"

static const char *const class_names[] = {"retail", "regular", "trade", "staff", "partner", "charity"};

const char *customer_name(uint32_t customer) {
    return customer < sizeof class_names / sizeof class_names[0] ? class_names[customer] : "unknown";
}

// The discount as a share of the net price. Each class has its own rule, so this is a jump table and not a lookup.
double discount_rate(uint32_t customer, uint32_t quantity, uint32_t bulk_from) {
    double bulk = quantity >= bulk_from ? 0.05 : 0.0;
    switch (customer) {
    case CUSTOMER_RETAIL:
        return bulk;
    case CUSTOMER_REGULAR:
        return bulk + 0.02;
    case CUSTOMER_TRADE:
        return bulk * 2.0 + 0.075;
    case CUSTOMER_STAFF:
        return 0.3;
    case CUSTOMER_PARTNER:
        return quantity > 1000 ? 0.225 : bulk + 0.125;
    case CUSTOMER_CHARITY:
        return bulk * 3.0 + 0.1 / (double)quantity;
    default:
        return 0.0;
    }
}

int orders_quote(const struct order *order, struct quote *quote) {
    const struct item *item = find_item(order->sku);
    if (item == NULL)
        return ORDERS_UNKNOWN_SKU;
    quote->net_cents = (uint64_t)item->price_cents * order->quantity;
    quote->discount = discount_rate(order->customer, order->quantity, item->bulk_from);
    quote->total_cents = (uint64_t)((double)quote->net_cents * (1.0 - quote->discount) + 0.5);
    quote->checksum = orders_checksum(order->sku, sizeof order->sku) ^ (uint32_t)quote->total_cents;
    remember_order(order, quote);
    return ORDERS_OK;
}
