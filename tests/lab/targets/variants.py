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
    "    if ((size_t)claimed > capacity)\n        return ORDERS_TOO_LARGE;\n    if ((size_t)claimed > given)\n        claimed = (int64_t)given;\n",
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

VARIANTS: dict[str, Variant] = {
    "v1": Variant("the vulnerable release"),
    "v2": Variant("fixes the over-read in orders_echo and the index of note_text", _FIXES),
    "v3": Variant("no longer shows staff's orders; needs a new field in the ring of recent orders", _FIXES + _RECENT_CUSTOMER),
}
