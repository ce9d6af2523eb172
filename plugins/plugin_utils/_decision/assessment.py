# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What is the answer for one host? The shapes of docs/decision.md."""

from __future__ import annotations

import datetime
import enum
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from .calendar import Baseline, CalendarMonth
from .catalog import Package
from .codec import decode, encode
from .eligibility import Prerequisite
from .level import HostLevel, Level
from .model import Build, Month, Track
from .payloads import PayloadPlan
from .reasons import Reason
from .residual import OpenCve, OpenNow


class Verdict(enum.Enum):
    """The answer in one word."""

    CURRENT = "current"
    HOTPATCH = "hotpatch"
    BASELINE = "baseline"
    CUMULATIVE_UPDATE = "cumulative_update"
    NOT_ENROLLED = "not_enrolled"
    NOT_ELIGIBLE = "not_eligible"
    BLOCKED = "blocked"


class Detail(enum.Enum):
    """Which kind of baseline."""

    PLANNED = "planned"
    UNPLANNED = "unplanned"
    MISSED = "missed"


class ActionKind(enum.Enum):
    """What to do."""

    NONE = "none"
    REBOOT = "reboot"
    ENROLL = "enroll"
    HOTPATCH = "hotpatch"
    BASELINE = "baseline"
    CUMULATIVE_UPDATE = "cumulative_update"


@dataclass(frozen=True)
class Step:
    """One thing to do; ``file`` is where the catalog says the package lies."""

    kind: ActionKind
    kb: str | None = None
    build: Build | None = None
    reboot: bool = False
    file: Package | None = None


@dataclass(frozen=True)
class Action(Step):
    """The next thing to do, and what follows it."""

    then: tuple[Step, ...] = ()

    @classmethod
    def of(cls, steps: tuple[Step, ...]) -> Action:
        """The first of the steps with the others behind it; no steps are the action ``none``."""
        if not steps:
            return cls(ActionKind.NONE)
        first = steps[0]
        return cls(first.kind, first.kb, first.build, first.reboot, first.file, steps[1:])


@dataclass(frozen=True)
class CatalogState:
    """Which catalog the answer rests on: its date, the newest month for the product, whether a newer one is due."""

    date: datetime.date | None
    month: Month | None
    stale: bool


@dataclass(frozen=True)
class Assessment:
    """The answer for one host, with every reason."""

    product: str | None
    verdict: Verdict
    detail: Detail | None
    track: Track
    level: HostLevel | None
    base: Level | None
    expected: Level | None
    next_action: Action
    reasons: tuple[Reason, ...]
    prerequisites: tuple[Prerequisite, ...]
    residual: tuple[OpenCve, ...]
    open_now: OpenNow
    next_baseline: Baseline | None
    payloads: PayloadPlan
    calendar: tuple[CalendarMonth, ...]
    reboots_avoided: int
    catalog: CatalogState

    def as_dict(self) -> dict[str, t.Any]:
        """The JSON shape of docs/decision.md."""
        return t.cast("dict[str, t.Any]", encode(self))

    @classmethod
    def from_dict(cls, document: Mapping[str, t.Any]) -> Assessment:
        """Read an assessment back; raises HotpatchError ``policy_invalid``."""
        return decode(cls, document, where="assessment", code="policy_invalid")
