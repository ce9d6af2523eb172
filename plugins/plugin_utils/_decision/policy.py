# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What does the owner want? When a reboot is worth it, in which windows, in which order, and how much may fail."""

from __future__ import annotations

import datetime
import typing as t
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field

from .codec import Cve, Identifier, Pattern, decode, json_name

WEEKDAYS: t.Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_LONGEST_WINDOW: t.Final = 7 * 24 * 60


@dataclass(frozen=True)
class RebootNow:
    """Which open CVEs are worth a reboot before the next baseline. ``cvss_above`` is exclusive; None means no limit."""

    exploited: bool = True
    critical: bool = True
    cvss_above: float | None = None
    cves: tuple[Cve, ...] = ()

    def __post_init__(self) -> None:
        if self.cvss_above is not None and not 0 <= self.cvss_above <= 10:
            raise ValueError(f"cvss_above is {self.cvss_above}; a CVSS score is between 0 and 10")

    def rule(self, *, cves: tuple[str, ...], severity: str | None, cvss: float | None, exploited: bool) -> str | None:
        """The first rule that is met: ``named``, ``exploited``, ``critical``, ``cvss_above``; None when none is."""
        if set(cves) & set(self.cves):
            return "named"
        if self.exploited and exploited:
            return "exploited"
        if self.critical and (severity or "").lower() == "critical":
            return "critical"
        if self.cvss_above is not None and cvss is not None and cvss > self.cvss_above:
            return "cvss_above"
        return None


@dataclass(frozen=True)
class Window:
    """A maintenance window: opens at ``time`` on each of ``weekdays`` in ``timezone`` and lasts ``duration_minutes``."""

    weekdays: tuple[str, ...]
    time: t.Annotated[str, Pattern(r"([01][0-9]|2[0-3]):[0-5][0-9]")]
    timezone: str
    duration_minutes: int

    def __post_init__(self) -> None:
        if wrong := [day for day in self.weekdays if day not in WEEKDAYS]:
            raise ValueError(f"{wrong[0]!r} is not a weekday; they are {', '.join(WEEKDAYS)}")
        if not self.weekdays:
            raise ValueError("a window needs at least one weekday")
        if not 1 <= self.duration_minutes <= _LONGEST_WINDOW:
            raise ValueError(f"duration_minutes is {self.duration_minutes}; it must be between 1 and {_LONGEST_WINDOW}")
        try:
            zoneinfo.ZoneInfo(self.timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as problem:
            raise ValueError(f"the time zone {self.timezone!r} is not known here") from problem

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The window's time zone."""
        return zoneinfo.ZoneInfo(self.timezone)

    def openings(self, now: datetime.datetime, days: int) -> t.Iterator[tuple[datetime.datetime, datetime.datetime]]:
        """Begin and end (UTC) of each opening that ends after ``now`` and begins within ``days``, in order."""
        hour, minute = (int(part) for part in self.time.split(":"))
        local = now.astimezone(self.zone).date()
        # An opening up to a week long can have begun up to that long ago.
        for offset in range(-_LONGEST_WINDOW // (24 * 60) - 1, days + 1):
            day = local + datetime.timedelta(days=offset)
            if WEEKDAYS[day.weekday()] not in self.weekdays:
                continue
            begin = datetime.datetime.combine(day, datetime.time(hour, minute), self.zone).astimezone(datetime.UTC)
            end = begin + datetime.timedelta(minutes=self.duration_minutes)
            if end > now:
                yield begin, end


@dataclass(frozen=True)
class Freeze:
    """Days on which nothing is rebooted; ``until`` is the last one."""

    first: datetime.date = field(metadata=json_name("from"))
    until: datetime.date
    reason: str = ""

    def __post_init__(self) -> None:
        if self.until < self.first:
            raise ValueError(f"the freeze ends on {self.until}, before it begins on {self.first}")

    def covers(self, day: datetime.date) -> bool:
        """Whether a day is frozen."""
        return self.first <= day <= self.until


@dataclass(frozen=True)
class Policy:
    """The owner's policy; docs/decision.md has the defaults."""

    hotpatch: bool = True
    reboot_now: RebootNow = RebootNow()
    catalog_grace_days: int = 2
    windows: Mapping[str, Window] = field(default_factory=dict)
    freeze: tuple[Freeze, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.catalog_grace_days <= 60:
            raise ValueError(f"catalog_grace_days is {self.catalog_grace_days}; it must be between 0 and 60")

    @classmethod
    def from_dict(cls, document: object) -> Policy:
        """Read a policy strictly; raises HotpatchError ``policy_invalid`` naming the place."""
        return decode(cls, document, where="policy", code="policy_invalid")


@dataclass(frozen=True)
class Ring:
    """A part of the fleet that is worked on together."""

    name: Identifier
    hosts: tuple[str, ...]
    soak_hours: float = 0.0
    failure_budget: int = 0
    window: str | None = None

    def __post_init__(self) -> None:
        if self.soak_hours < 0 or self.failure_budget < 0:
            raise ValueError(f"soak_hours and failure_budget of the ring {self.name!r} must not be negative")


def read_rings(document: object, policy: Policy) -> tuple[Ring, ...]:
    """Read the rings; raises HotpatchError ``policy_invalid`` for unknown windows and hosts in two rings."""
    return decode(_Rings, {"rings": document, "windows": sorted(policy.windows)}, where="rings", code="policy_invalid").rings


@dataclass(frozen=True)
class _Rings:
    rings: tuple[Ring, ...]
    windows: tuple[str, ...]

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        names = [ring.name for ring in self.rings]
        if doubles := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two rings are named {doubles[0]!r}")
        for ring in self.rings:
            if ring.window is not None and ring.window not in self.windows:
                raise ValueError(f"the ring {ring.name!r} names the unknown window {ring.window!r}")
            for host in ring.hosts:
                if host in seen:
                    raise ValueError(f"the host {host!r} is in the rings {seen[host]!r} and {ring.name!r}")
                seen[host] = ring.name
