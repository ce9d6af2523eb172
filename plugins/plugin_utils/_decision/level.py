# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""On which level of the calendar does a host stand, and on which track?

A level is judged by KB *and* build, because neither alone decides:

* a hotpatch's revision is lower than that of the same month's cumulative update, though both are the month's level;
* KB5070881 and KB5070893 share 26100.6905, and only on the second one the quarter's hotpatches went on;
* servers and clients of one build number have different revisions.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from dataclasses import dataclass

from .calendar import base_month
from .catalog import Catalog, Update
from .facts import Facts
from .model import Build, Month, Product, Track, UpdateKind


class Evidence(enum.Enum):
    """What a level rests on."""

    KB_AND_BUILD = "kb_and_build"
    BUILD = "build"
    AMBIGUOUS = "ambiguous"
    NONE = "none"


@dataclass(frozen=True)
class Level:
    """One level: a package of a month. ``kb``, ``kind`` and ``month`` are None when the build is in no catalog month."""

    build: Build | None
    kb: str | None = None
    kind: UpdateKind | None = None
    month: Month | None = None

    @classmethod
    def of(cls, month: Month, update: Update) -> Level:
        """The level a package brings."""
        return cls(update.build, update.kb, update.kind, month)


@dataclass(frozen=True)
class HostLevel(Level):
    """A host's level and what it was judged by."""

    evidence: Evidence = Evidence.NONE


@dataclass(frozen=True)
class Standing:
    """A host's level, its track, and the baseline it stands on.

    ``base`` is None off the hotpatch track. ``choices`` are the packages between which an ambiguous level could not be decided.
    """

    level: HostLevel
    track: Track
    base: Level | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """What is on a host: the cumulative content up to ``cumulative``, hotpatches up to ``hotpatch``, and single packages."""

    cumulative: Build
    hotpatch: Build
    kbs: frozenset[str]

    def holds(self, update: Update) -> bool:
        """Whether the host has a package's fixes. Off the track every package up to the build is contained.

        On the hotpatch track a companion or an out-of-band package above the baseline counts only when it is installed itself.
        """
        if update.kb in self.kbs:
            return True
        if update.build is None:
            return False
        limit = self.hotpatch if update.kind is UpdateKind.HOTPATCH else self.cumulative
        return update.build <= limit

    def after(self, update: Update) -> Contents:
        """The contents once a package is installed."""
        kbs = self.kbs | {update.kb}
        if update.build is None or update.kind in (UpdateKind.COMPANION, UpdateKind.OTHER):
            return dataclasses.replace(self, kbs=kbs)
        if update.kind is UpdateKind.HOTPATCH:
            return Contents(self.cumulative, max(self.hotpatch, update.build), kbs)
        return Contents(max(self.cumulative, update.build), max(self.hotpatch, update.build), kbs)


def contents_of(facts: Facts, standing: Standing) -> Contents:
    """What the host holds in its present state."""
    build = standing.level.build or Build(0, 0)
    base = standing.base.build if standing.base is not None and standing.base.build is not None else build
    kbs = set(facts.installed)
    if standing.level.evidence is Evidence.BUILD and standing.level.kb is not None:
        kbs.add(standing.level.kb)
    return Contents(base if standing.track is Track.HOTPATCH else build, build, frozenset(kbs))


def judge(facts: Facts, product: Product, catalog: Catalog) -> Standing:
    """Where the host stands. ``facts.build`` must be known."""
    build = facts.build
    found = [(month, update) for month, entry in catalog.months(product.key) for update in entry.updates if _is_level(update, build)]
    listed = [(month, update) for month, update in found if update.kb in facts.installed]
    if not found:
        return Standing(HostLevel(build), Track.UNKNOWN)
    if not listed and len({_keeps_track(catalog, product, month, update) for month, update in found}) > 1:
        kbs = tuple(sorted(update.kb for _month, update in found))
        return Standing(HostLevel(build, evidence=Evidence.AMBIGUOUS), Track.UNKNOWN, choices=kbs)
    month, update = _worst(catalog, product, listed or found)
    evidence = Evidence.KB_AND_BUILD if listed else Evidence.BUILD
    level = HostLevel(build, update.kb, update.kind, month, evidence)
    if not _keeps_track(catalog, product, month, update):
        return Standing(level, Track.CUMULATIVE)
    return Standing(level, Track.HOTPATCH, _base(catalog, product, month, update))


def _is_level(update: Update, build: Build | None) -> bool:
    # A companion has the build of the hotpatch it goes beside; it is no level of its own.
    return update.build == build and update.kind in (UpdateKind.LCU, UpdateKind.HOTPATCH, UpdateKind.OUT_OF_BAND)


def _worst(catalog: Catalog, product: Product, found: Sequence[tuple[Month, Update]]) -> tuple[Month, Update]:
    """Of several listed packages with one build the one that takes the host off the track: refuse when in doubt."""
    return min(found, key=lambda item: (_keeps_track(catalog, product, *item), item[1].kb))


def _keeps_track(catalog: Catalog, product: Product, month: Month, update: Update) -> bool:
    if update.kind is UpdateKind.HOTPATCH:
        return base_month(catalog, product.key, month) is not None
    if update.kind is UpdateKind.LCU:
        return catalog.products[product.key][month].is_baseline
    return update.keeps_track is True


def _base(catalog: Catalog, product: Product, month: Month, update: Update) -> Level:
    found = base_month(catalog, product.key, month)
    if found is None or found[1].lcu is None or update.kind is not UpdateKind.HOTPATCH:
        return Level.of(month, update)
    return Level.of(found[0], found[1].lcu)
