// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Notes that staff leave for each other, numbered from 0, and the till's override code, which is nobody's business.
#include "internal.h"

struct notebook {
    char override_code[NOTE_SIZE];
    char notes[NOTE_COUNT][NOTE_SIZE];
};

static struct notebook notebook = {
    "override code 4471-0926",
    {"gate 3 is closed until Friday", "pallets go to hall B", "count the fans again", "call the carrier before nine",
     "new price list on Monday", "the scale in hall A is repaired"},
};

// The text of one note, or NULL.
const char *note_text(int64_t number) {
    if (number >= NOTE_COUNT)
        return NULL;
    return notebook.notes[number];
}
