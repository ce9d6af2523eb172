# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""How long is the exception table that GCC puts behind a C++ function's unwind data, and which types does it name?

The table (``.gcc_except_table`` elsewhere) counts everything in the function from the function's start, so it moves with it.
Only its type entries lead out: distances from the entry to a pointer to the type's information.
"""

from __future__ import annotations

from dataclasses import dataclass

from .pe import Image

_OMIT = 0xFF
_ULEB128 = 0x01
_INDIRECT_PCREL_SDATA4 = 0x9B
_MAX_SIZE = 1 << 20


@dataclass(frozen=True)
class Lsda:
    """Bytes of the whole table, and the (RVA of an entry, RVA it names) of its types."""

    size: int
    types: tuple[tuple[int, int], ...]


class _Damaged(Exception):
    """The bytes are no such table."""


class _Bytes:
    def __init__(self, image: Image, at: int) -> None:
        self._image = image
        self._begin = self.at = at

    def byte(self) -> int:
        data = self._image.read(self.at, 1)
        if not data or self.at - self._begin > _MAX_SIZE:
            raise _Damaged
        self.at += 1
        return data[0]

    def uleb(self) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise _Damaged

    def sleb(self) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value - (1 << (shift + 7)) if byte & 0x40 else value
        raise _Damaged


def parse_lsda(image: Image, length: int, at: int) -> Lsda | None:
    """Reads the table at ``at`` that belongs to a function of that length; nothing when the bytes are no table that fits it."""
    try:
        return _parse(image, length, at)
    except _Damaged:
        return None


def _parse(image: Image, length: int, at: int) -> Lsda:
    data = _Bytes(image, at)
    if data.byte() != _OMIT:
        raise _Damaged
    type_encoding = data.byte()
    type_base = 0
    if type_encoding != _OMIT:
        distance = data.uleb()
        type_base = data.at + distance
    if data.byte() != _ULEB128:
        raise _Damaged
    calls_end = data.uleb()
    calls_end += data.at
    actions = set()
    while data.at < calls_end:
        begin, size, pad, action = data.uleb(), data.uleb(), data.uleb(), data.uleb()
        if begin + size > length or pad >= length:
            raise _Damaged
        actions.add(action)
    if data.at != calls_end:
        raise _Damaged
    filters = _filters(image, calls_end, actions - {0})
    if type_encoding == _OMIT:
        if any(value for value, _ in filters):
            raise _Damaged
        return Lsda(max([calls_end, *(end for _, end in filters)]) - at, ())
    if type_encoding != _INDIRECT_PCREL_SDATA4 or min((value for value, _ in filters), default=0) < 0:
        raise _Damaged  # exception specifications (negative filters) put more behind the types
    return _types(image, at, type_base, max((value for value, _ in filters), default=0))


def _filters(image: Image, table: int, actions: set[int]) -> list[tuple[int, int]]:
    """The type filter of each action record that can be reached, and where the record ends."""
    found = []
    pending, seen = [table + action - 1 for action in actions], set()
    while pending:
        at = pending.pop()
        if at in seen:
            continue
        seen.add(at)
        record = _Bytes(image, at)
        value = record.sleb()
        link_at = record.at
        link = record.sleb()
        found.append((value, record.at))
        if link:
            pending.append(link_at + link)
    return found


def _types(image: Image, at: int, base: int, count: int) -> Lsda:
    types = []
    for index in range(1, count + 1):
        slot = base - 4 * index
        distance = int.from_bytes(image.read(slot, 4), "little", signed=True)
        if slot < at or (distance and image.section_at(slot + distance) is None):
            raise _Damaged
        if distance:  # 0 stands for catch (...)
            types.append((slot, slot + distance))
    return Lsda(base - at, tuple(types))
