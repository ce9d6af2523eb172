# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which builds of orders.dll are there, and how does the source of each differ from version 1?

A variant is a few exact replacements in the source of version 1, the way a fix reads in a review, and the compiler options it
is built with. Each replacement must find its text exactly once, so that a variant cannot rot silently.
"""

from __future__ import annotations

from dataclasses import dataclass

BASE_FLAGS = ("-O2",)


@dataclass(frozen=True)
class Edit:
    """In ``path`` (below ``src/dll``) the text ``old``, which is there exactly once, becomes ``new``."""

    path: str
    old: str
    new: str

    def apply(self, source: str) -> str:
        """The source after the edit; :class:`ValueError` when the old text is not there exactly once."""
        if source.count(self.old) != 1:
            raise ValueError(f"{self.path}: expected exactly once: {self.old!r}")
        return source.replace(self.old, self.new)


@dataclass(frozen=True)
class Variant:
    """What a build is for, how its source differs from version 1, and its options."""

    purpose: str
    edits: tuple[Edit, ...] = ()
    flags: tuple[str, ...] = BASE_FLAGS


_ECHO_LENGTH = Edit(
    "session.c",
    "    if ((size_t)claimed > capacity)\n        return ORDERS_TOO_LARGE;\n",
    """    if ((size_t)claimed > capacity)
        return ORDERS_TOO_LARGE;
    if ((size_t)claimed > given)
        claimed = (int64_t)given;
""",
)
_NOTE_NUMBER = Edit("notes.c", "if (number >= NOTE_COUNT)", "if (number < 0 || number >= NOTE_COUNT)")
_FIXES = (_ECHO_LENGTH, _NOTE_NUMBER)

_RECENT_CUSTOMER = (
    Edit(
        "internal.h",
        "    uint32_t number;\n    uint32_t quantity;\n",
        "    uint32_t number;\n    uint32_t customer;\n    uint32_t quantity;\n",
    ),
    Edit(
        "recent.c",
        "    slot->quantity = order->quantity;\n",
        "    slot->quantity = order->quantity;\n    slot->customer = order->customer;\n",
    ),
    Edit("recent.c", "if (slot->number == 0)", "if (slot->number == 0 || slot->customer == CUSTOMER_STAFF)"),
)

_MESSAGE = Edit(
    "session.c",
    "    memcpy(out, context->reference, (size_t)claimed);\n    *length = (size_t)claimed;\n",
    """    *length = 0;
    if ((size_t)claimed > given)
        append(out, capacity, length, "your reference has %zu bytes, which is less than you say", given);
    else
        append(out, capacity, length, "%.*s", (int)claimed, context->reference);
""",
)
_HELPER = (
    Edit(
        "session.c",
        "// Sends the client's reference back",
        """// How much may be sent: what the client claims, but no more than it gave.
static __attribute__((noinline)) size_t honest_length(const char *reference, int64_t claimed) {
    size_t given = strlen(reference);
    return (size_t)claimed < given ? (size_t)claimed : given;
}

// Sends the client's reference back""",
    ),
    Edit(
        "session.c",
        "    memcpy(out, context->reference, (size_t)claimed);\n",
        "    claimed = (int64_t)honest_length(context->reference, claimed);\n    memcpy(out, context->reference, (size_t)claimed);\n",
    ),
)
_TLS = (
    Edit("session.c", "const char signing_key", "extern ULONG _tls_index;\n\nconst char signing_key"),
    Edit(
        "session.c",
        "    context->echoed += *length;\n",
        """    uint64_t **slots; // as compilers with native thread-local variables reach them
    __asm__("movq %%gs:0x58, %0" : "=r"(slots));
    context->echoed += *length + *slots[_tls_index];
""",
    ),
)
_CALLBACK = (
    Edit(
        "recent.c",
        "int orders_recent(",
        """static int by_total(const void *left, const void *right) {
    const struct recent_order *a = left;
    const struct recent_order *b = right;
    return (a->total_cents > b->total_cents) - (a->total_cents < b->total_cents);
}

int orders_recent(""",
    ),
    Edit("recent.c", "#include <string.h>", "#include <stdlib.h>\n#include <string.h>"),
    Edit(
        "recent.c",
        '    const char *separator = "";\n',
        '    const char *separator = "";\n    qsort(ring, RECENT_COUNT, sizeof ring[0], by_total);\n',
    ),
)

VARIANTS: dict[str, Variant] = {
    "v1": Variant("the vulnerable release"),
    "v2": Variant("fixes the over-read in orders_echo and the index of note_text", _FIXES),
    "v3": Variant("no longer shows staff's orders; needs a new field in the ring of recent orders", _FIXES + _RECENT_CUSTOMER),
    # What can be hotpatched, each of version 1.
    "constant": Variant("the fix brings a text that version 1 does not have", (_MESSAGE,)),
    "pointers": Variant(
        "the fix changes a table of pointers to texts",
        (Edit("format.c", '"the value is too long"', '"the value is longer than it may be"'),),
    ),
    "helper": Variant("the fix calls a function that version 1 does not have", _HELPER),
    "switch": Variant(
        "the fix is in a function with a switch table",
        (Edit("pricing.c", "bulk * 3.0 + 0.1 / (double)quantity;", "bulk * 3.0 + 0.2 / (double)quantity;"),),
    ),
    "short": Variant("the fix is in a function of 3 bytes", (Edit("recent.c", "return 0;", "return 1;"),)),
    "loop": Variant("the fix is in a function whose loop begins at its entry", (Edit("checksum.c", "< 10000", "< 100000"),)),
    # What cannot.
    "rebuild": Variant("version 1 with other compiler options", flags=("-O0",)),
    "import": Variant(
        "the fix needs a new import",
        (Edit("session.c", "        HeapFree(GetProcessHeap(), 0, context);\n", "        HeapValidate(GetProcessHeap(), 0, context);\n"),),
    ),
    "export": Variant(
        "a function is exported that was not",
        (
            Edit(
                "orders.h",
                "ORDERS_API int orders_maintenance(void);",
                "ORDERS_API int orders_release(void);\nORDERS_API int orders_maintenance(void);",
            ),
            Edit("format.c", "int orders_http_status(", "int orders_release(void) { return 3; }\n\nint orders_http_status("),
        ),
    ),
    "tls": Variant("the fix uses a thread-local variable", _TLS),
    "initialiser": Variant(
        "the fix is in what runs when the DLL is loaded",
        (Edit("dllmain.c", "    return TRUE;\n", "    return reason != DLL_PROCESS_ATTACH || GetProcessHeap() != NULL;\n"),),
    ),
    "data": Variant("a variable starts with another value", (Edit("recent.c", "last_number = 1000", "last_number = 5000"),)),
    "context": Variant(
        "a structure on the heap gets a field",
        (
            Edit(
                "internal.h",
                "    char signing_key[SIGNING_KEY_SIZE];\n    uint64_t echoed;",
                "    char signing_key[SIGNING_KEY_SIZE];\n    uint64_t refused;\n    uint64_t echoed;",
            ),
        ),
    ),
    "variable": Variant(
        "the fix counts in a new static variable",
        (
            Edit("session.c", "const char signing_key", "static volatile uint64_t refused;\n\nconst char signing_key"),
            Edit("session.c", "        return ORDERS_TOO_LARGE;\n    memcpy", "        return ++refused, ORDERS_TOO_LARGE;\n    memcpy"),
        ),
    ),
    "callback": Variant("the fix gives the address of a new function away", _CALLBACK),
}

_ONE_LENGTH = (
    Edit(
        "http.cpp",
        "    Head head;\n    const std::size_t line_end",
        "    Head head;\n    bool has_length = false;\n    const std::size_t line_end",
    ),
    Edit(
        "http.cpp",
        '        else if (name == "content-length") {\n',
        '        else if (name == "content-length") {\n            if (has_length)\n                return std::nullopt;\n'
        "            has_length = true;\n",
    ),
)

PROGRAM_VARIANTS: dict[str, Variant] = {
    "x1": Variant("the program as released: of two contradicting Content-Length lines it believes the last (request smuggling)"),
    "x2": Variant("refuses a request with two Content-Length lines", _ONE_LENGTH),
}
"""Builds of orders.exe; their edits are below ``src/exe``."""
