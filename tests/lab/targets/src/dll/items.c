// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The catalogue of goods.
#include <string.h>

#include "internal.h"

static const struct item items[] = {
    {"bolt-m6", "Hexagon bolt M6 x 40", 18, 500},
    {"bolt-m8", "Hexagon bolt M8 x 60", 31, 500},
    {"bracket-90", "Angle bracket 90 mm", 249, 100},
    {"cable-cat6", "Patch cable Cat 6, 3 m", 585, 50},
    {"fan-120", "Fan 120 mm, quiet", 1290, 20},
    {"hinge-80", "Door hinge 80 mm", 420, 100},
    {"lamp-e27", "Lamp E27, 8 W", 349, 60},
    {"panel-19", "Blank panel 19 inch, 2 U", 1120, 25},
    {"relay-24v", "Relay 24 V, two changers", 865, 40},
};

// The table is sorted by sku.
const struct item *find_item(const char *sku) {
    size_t low = 0;
    size_t high = sizeof items / sizeof items[0];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(sku, items[middle].sku);
        if (order == 0)
            return &items[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
