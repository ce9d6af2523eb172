# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""When are updates released, when are baselines planned, and what did each month become?"""

from __future__ import annotations

import datetime
import enum
import typing as t
from dataclasses import dataclass

from .catalog import Catalog, ProductMonth
from .model import Build, Month

PLANNED_BASELINES: t.Final = frozenset({1, 4, 7, 10})
"""The months of Microsoft's hotpatch calendar that are planned as baselines. An unplanned baseline does not move them."""


class MonthKind(enum.Enum):
    """What a month is on the hotpatch track."""

    BASELINE = "baseline"
    HOTPATCH = "hotpatch"


@dataclass(frozen=True)
class Baseline:
    """A baseline to come: its month and Patch Tuesday."""

    month: Month
    date: datetime.date
    planned: bool = True


@dataclass(frozen=True)
class CalendarMonth:
    """One month of the calendar: what was planned and, once it is in the catalog, what it became."""

    month: Month
    date: datetime.date
    planned: MonthKind
    actual: MonthKind | None
    kb: str | None
    build: Build | None


def patch_tuesday(month: Month) -> datetime.date:
    """The second Tuesday of a month."""
    first = datetime.date(month.year, month.month, 1)
    return first + datetime.timedelta(days=(1 - first.weekday()) % 7 + 7)


def planned_kind(month: Month) -> MonthKind:
    """What the published plan says of a month."""
    return MonthKind.BASELINE if month.month in PLANNED_BASELINES else MonthKind.HOTPATCH


def actual_kind(entry: ProductMonth) -> MonthKind:
    """What a month is: without a hotpatch it is a baseline, whatever the plan said."""
    return MonthKind.BASELINE if entry.is_baseline else MonthKind.HOTPATCH


def newest_due(today: datetime.date, grace_days: int) -> Month:
    """The newest month a fresh catalog must hold: the last one whose Patch Tuesday is more than ``grace_days`` ago."""
    month = Month.of(today)
    while patch_tuesday(month) + datetime.timedelta(days=grace_days) >= today:
        month = month.next(-1)
    return month


def next_baseline(catalog: Catalog, product: str, today: datetime.date) -> Baseline:
    """The next planned baseline that is not in the catalog yet.

    One whose Patch Tuesday has just passed is still the next one (the catalog does not hold it yet); one that is more than
    a month past is not: the catalog is stale, and a date in the far past would mislead.
    """
    released = catalog.months(product, today)
    month = released[-1][0].next() if released else Month.of(today)
    while planned_kind(month) is not MonthKind.BASELINE or patch_tuesday(month.next()) < today:
        month = month.next()
    return Baseline(month, patch_tuesday(month))


def base_month(catalog: Catalog, product: str, month: Month) -> tuple[Month, ProductMonth] | None:
    """The baseline that a month stands on: itself, or the last baseline before it."""
    months = [(at, entry) for at, entry in catalog.months(product) if at <= month and entry.is_baseline]
    return months[-1] if months else None


def schedule(catalog: Catalog, product: str, today: datetime.date) -> tuple[CalendarMonth, ...]:
    """The months from the baseline in force to the next planned baseline."""
    released = dict(catalog.months(product, today))
    if not released:
        return ()
    base = base_month(catalog, product, max(released))
    month = base[0] if base else min(released)
    last = next_baseline(catalog, product, today).month
    rows = []
    while month <= last:
        rows.append(_row(month, released.get(month)))
        month = month.next()
    return tuple(rows)


def _row(month: Month, entry: ProductMonth | None) -> CalendarMonth:
    if entry is None:
        return CalendarMonth(month, patch_tuesday(month), planned_kind(month), None, None, None)
    update = entry.hotpatch or entry.lcu
    return CalendarMonth(
        month,
        entry.released,
        planned_kind(month),
        actual_kind(entry),
        update.kb if update else None,
        update.build if update else None,
    )
