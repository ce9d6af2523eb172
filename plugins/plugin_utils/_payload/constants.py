# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Is a read-only constant that new code uses also in the old module, or must the payload bring its own copy?

How far code reads behind an address it computes cannot be seen in a stripped module: objects have no sizes. So an address is
taken to the old module only where everything within :data:`WINDOW` around it is the same there; otherwise the payload carries
the new bytes of that whole window, as one block, so that distances inside it stay as they are. An access of known size needs
only its own bytes.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .datamap import Evidence, SectionMap, map_section
from .functions import Program, RefKind
from .matching import Comparison, Matching

WINDOW = 64 * 1024
"""Larger than any table compilers put into read-only data for one function; smaller modules are taken whole."""


@dataclass(frozen=True)
class Block:
    """Read-only bytes of the new build that the payload carries, ``[begin, end)`` in RVAs."""

    begin: int
    end: int


class Constants:
    """Finds constants of the new build in the old one."""

    def __init__(self, matching: Matching) -> None:
        self._matching = matching
        self._old, self._new = matching.old, matching.new
        self._maps = _read_only_maps(matching)
        self._tables = _table_pairs(matching)
        self._comparison = Comparison(matching.old, matching.new, matching.pairs)

    def old_address(self, rva: int, width: int) -> int | None:
        """Where the old module has the same constant; nothing when it has not, or that is not certain.

        :param width: how many bytes are read, 0 when that is not known.
        """
        section_map = next((m for m in self._maps.values() if m.new.rva <= rva < m.new.end), None)
        old = section_map.resolve(rva) if section_map else None
        if section_map is None or old is None:
            return None
        begin, end = (rva, rva + width) if width else window(self._new, rva)
        distance = old - rva
        inside = section_map.old.rva <= begin + distance and end + distance <= section_map.old.end
        return old if inside and self._same(begin, end, distance) else None

    def old_pointer(self, at: int) -> int | None:
        """Where the old module's pointer leads that stands where this one of the new build does, if it is the same pointer."""
        section_map = next((m for m in self._maps.values() if m.new.rva <= at < m.new.end), None)
        old_at = section_map.resolve(at) if section_map else None
        return self._old.image.pointer(old_at) if old_at is not None and self._same_pointer(at, old_at) else None

    def _same(self, begin: int, end: int, distance: int) -> bool:
        old, new = self._old.image, self._new.image
        slots = new.relocations_in(begin, end)
        if tuple(at + distance for at in slots) != old.relocations_in(begin + distance, end + distance):
            return False
        left, right = bytearray(new.read(begin, end - begin)), bytearray(old.read(begin + distance, end - begin))
        masked = [(at, at + 8) for at in slots] + [(b, e) for b, e, d in self._tables if d == distance and b < end and begin < e]
        for low, high in masked:
            low, high = max(low - begin, 0), min(high, end) - begin
            left[low:high] = right[low:high] = bytes(high - low)
        return left == right and all(self._same_pointer(at, at + distance) for at in slots)

    def _same_pointer(self, new_at: int, old_at: int) -> bool:
        new, old = self._new.image.pointer(new_at), self._old.image.pointer(old_at)
        if new is None or old is None:
            return False
        function = self._new.containing(new)
        if function is not None:
            partner = self._matching.pairs.get(function.rva)
            return partner is not None and new - function.rva == old - partner
        section = self._new.image.section_at(new)
        if section is None:
            return self._new.image.edge(new) != "" and self._new.image.edge(new) == self._old.image.edge(old)
        if section.writable:
            return self._matching.data.resolve(new) == old
        if section.executable:
            return self._comparison.same_pointer(old_at, new_at)
        return section.name in self._maps and self._maps[section.name].resolve(new) == old


def window(program: Program, rva: int) -> tuple[int, int]:
    """The bytes around a computed address that count as possibly used, inside its section."""
    section = program.image.section_at(rva)
    if section is None:
        return rva, rva
    return max(section.rva, (rva - WINDOW) & ~63), min(section.end, rva + WINDOW)


def merge(blocks: Iterable[Block]) -> list[Block]:
    """Blocks that overlap or touch become one, so that distances between what is in them stay."""
    merged: list[Block] = []
    for block in sorted(blocks, key=lambda item: item.begin):
        if merged and block.begin <= merged[-1].end:
            merged[-1] = Block(merged[-1].begin, max(merged[-1].end, block.end))
        else:
            merged.append(block)
    return merged


def block_of(blocks: list[Block], rva: int) -> Block | None:
    """The block that holds an RVA."""
    at = bisect.bisect_right([block.begin for block in blocks], rva) - 1
    return blocks[at] if at >= 0 and rva < blocks[at].end else None


def _read_only_maps(matching: Matching) -> Mapping[str, SectionMap]:
    """Pins in the read-only sections, from what unchanged functions refer to: what they use has been compared already."""
    evidence: list[Evidence] = []
    changed = {item.new.rva for item in matching.changed}
    for new_rva, old_rva in matching.pairs.items():
        if new_rva in changed:
            continue
        old, new = matching.old.by_rva[old_rva], matching.new.by_rva[new_rva]
        for before, after in zip(old.references, new.references, strict=True):
            if after.kind in (RefKind.ACCESS, RefKind.ADDRESS, RefKind.POINTER):
                evidence.append(Evidence(after.target, before.target, new_rva))
    maps: dict[str, SectionMap] = {}
    for section in matching.new.image.sections:
        partner = matching.old.image.section_named(section.name)
        if partner and not section.writable and not section.executable and section.name not in maps:
            maps[section.name] = map_section(partner, section, evidence)[0]
    return maps


def _table_pairs(matching: Matching) -> list[tuple[int, int, int]]:
    """Switch tables that are the same in both builds though their bytes differ: begin, end, distance to the old one."""
    changed = {item.new.rva for item in matching.changed}
    pairs = []
    for new_rva, old_rva in matching.pairs.items():
        if new_rva not in changed:
            tables = zip(matching.old.by_rva[old_rva].jump_tables, matching.new.by_rva[new_rva].jump_tables, strict=False)
            pairs += [(after.rva, after.end, before.rva - after.rva) for before, after in tables]
    return pairs
