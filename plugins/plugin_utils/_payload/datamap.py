# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Where is the new build's static writable data in the running, old module, and is it laid out the same?

A stripped module has no list of its variables. What it has is code: each unchanged function refers to the same variables in
both builds, which pins one address of the new build to one of the old. Between two such pins the layout is taken as proven
when both lie equally far from their partners; where the distance changes, an object grew, shrank, came or went.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .pe import Image, Section


@dataclass(frozen=True, slots=True)
class Evidence:
    """An unchanged function of the new build refers to ``new`` where its partner refers to ``old`` (both RVAs)."""

    new: int
    old: int
    function: int


@dataclass(frozen=True)
class Step:
    """Between two pins of a section the distance between the builds changes: the layout is not the same there."""

    section: str
    new_begin: int
    new_end: int
    old_begin: int
    old_end: int

    @property
    def growth(self) -> int:
        """By how many bytes the new build needs more."""
        return (self.new_end - self.new_begin) - (self.old_end - self.old_begin)


@dataclass(frozen=True)
class SectionMap:
    """One writable section that both builds have; ``pins`` are (new RVA, old RVA), rising in both, ends included."""

    old: Section
    new: Section
    pins: tuple[tuple[int, int], ...]

    def steps(self) -> list[Step]:
        """Where the layout differs."""
        found = []
        for (new_begin, old_begin), (new_end, old_end) in zip(self.pins, self.pins[1:], strict=False):
            if new_end - new_begin != old_end - old_begin:
                found.append(Step(self.new.name, new_begin, new_end, old_begin, old_end))
        return found

    def resolve(self, rva: int) -> int | None:
        """The old RVA of a new one; nothing where the layout is not proven equal."""
        at = bisect.bisect_right(self.pins, (rva, 1 << 62)) - 1
        if at < 0 or at + 1 >= len(self.pins):
            return None
        (new_begin, old_begin), (new_end, old_end) = self.pins[at], self.pins[at + 1]
        return old_begin + rva - new_begin if new_end - new_begin == old_end - old_begin else None


@dataclass(frozen=True)
class DataMap:
    """The map of all writable sections."""

    sections: Mapping[str, SectionMap]
    outliers: tuple[Evidence, ...]
    """Evidence that contradicts the rest: that function now refers to another variable."""

    def resolve(self, rva: int) -> int | None:
        """The old RVA of a variable of the new build; nothing when that is not proven."""
        for section in self.sections.values():
            if section.new.rva <= rva < section.new.end:
                return section.resolve(rva)
        return None


def map_sections(old: Image, new: Image, evidence: Iterable[Evidence]) -> DataMap:
    """Builds the map from what the unchanged functions refer to."""
    items = list(evidence)
    maps: dict[str, SectionMap] = {}
    outliers: list[Evidence] = []
    for section in new.sections:
        partner = old.section_named(section.name)
        if not section.writable or partner is None or section.name in maps:
            continue
        maps[section.name], strayed = map_section(partner, section, items)
        outliers += strayed
    return DataMap(maps, tuple(outliers))


def map_section(old: Section, new: Section, evidence: Iterable[Evidence]) -> tuple[SectionMap, list[Evidence]]:
    """The map of one section, and the evidence that contradicts it."""
    inside = [item for item in evidence if new.rva <= item.new < new.end]
    pins = _longest_rising([item for item in inside if old.rva <= item.old < old.end])
    kept = set(pins)
    ends = {(new.rva, old.rva), (new.end, old.end)}
    return SectionMap(old, new, tuple(sorted(ends | kept))), [item for item in inside if (item.new, item.old) not in kept]


def _longest_rising(evidence: list[Evidence]) -> list[tuple[int, int]]:
    """The heaviest chain of pins that rises strictly in both builds; the weight of a pin is how many functions say so."""
    weights: dict[tuple[int, int], int] = {}
    for item in evidence:
        weights[item.new, item.old] = weights.get((item.new, item.old), 0) + 1
    # Pins of one new address are visited with falling old addresses, so that a chain takes at most one of them.
    ordered = sorted(weights, key=lambda pin: (pin[0], -pin[1]))
    ranks = {old: rank for rank, old in enumerate(sorted({old for _, old in ordered}), 1)}
    best = _PrefixMaximum(len(ranks))
    previous: dict[int, int] = {}
    for index, (new, old) in enumerate(ordered):
        weight, before = best.up_to(ranks[old] - 1)
        previous[index] = before
        best.raise_to(ranks[old], (weight + weights[new, old], index))
    chain = []
    at = best.up_to(len(ranks))[1]
    while at >= 0:
        chain.append(ordered[at])
        at = previous[at]
    return chain[::-1]


class _PrefixMaximum:
    """A Fenwick tree: the best (weight, index) among all ranks up to one, in logarithmic time."""

    def __init__(self, size: int) -> None:
        self._tree = [(0, -1)] * (size + 1)

    def up_to(self, rank: int) -> tuple[int, int]:
        found = (0, -1)
        while rank > 0:
            found = max(found, self._tree[rank])
            rank -= rank & -rank
        return found

    def raise_to(self, rank: int, value: tuple[int, int]) -> None:
        while rank < len(self._tree):
            self._tree[rank] = max(self._tree[rank], value)
            rank += rank & -rank
