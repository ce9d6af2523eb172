// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// CRC-32 (the polynomial of zip and Ethernet), four bits at a time.
#include "internal.h"

static const uint32_t nibble_table[16] = {
    0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4, 0x4DB26158, 0x5005713C,
    0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C, 0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
};

uint32_t orders_checksum(const void *data, size_t length) {
    const unsigned char *byte = data;
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < length; ++i) {
        crc ^= byte[i];
        crc = (crc >> 4) ^ nibble_table[crc & 15];
        crc = (crc >> 4) ^ nibble_table[crc & 15];
    }
    return ~crc;
}

// Ticket numbers have at least five digits. The loop begins in the function's first bytes: optimised for size, it is not moved to
// a boundary.
__attribute__((optimize("Os"), aligned(16))) uint32_t orders_ticket(uint32_t number) {
    do {
        number = (number * 2654435761u) ^ (number >> 15);
    } while (number < 10000);
    return number;
}
