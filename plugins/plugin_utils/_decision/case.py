# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What do the rules look at, and what do they answer? One host before its calendar."""

from __future__ import annotations

import dataclasses
import datetime
from dataclasses import dataclass

from .assessment import ActionKind, Detail, Step, Verdict
from .catalog import Catalog, ProductMonth, Update
from .facts import Facts
from .level import Contents, Standing
from .model import Month, Product, UpdateKind
from .policy import Policy
from .reasons import Reason


@dataclass(frozen=True)
class Case:
    """One host before its calendar: everything a rule may look at."""

    facts: Facts
    catalog: Catalog
    policy: Policy
    today: datetime.date
    product: Product
    month: Month
    entry: ProductMonth
    standing: Standing
    contents: Contents
    rejoin: datetime.date
    """The date of the next baseline, at which a host off the track rejoins it."""
    stale: bool


@dataclass(frozen=True)
class Decision:
    """A verdict with what to do and why."""

    verdict: Verdict
    steps: tuple[Step, ...] = ()
    reasons: tuple[Reason, ...] = ()
    detail: Detail | None = None

    def because(self, *reasons: Reason) -> Decision:
        """The same with more reasons in front."""
        return dataclasses.replace(self, reasons=(*reasons, *self.reasons))


def step_of(case: Case, kind: ActionKind, update: Update) -> Step:
    """The step that installs a package; only hotpatches and what goes beside them need no reboot."""
    reboot = kind is not ActionKind.HOTPATCH
    return Step(kind, update.kb, update.build, reboot, case.catalog.packages.get(update.kb))


def contents_after(case: Case, steps: tuple[Step, ...]) -> Contents:
    """The host's contents once the steps are done. Packages the calendar does not know bring nothing but themselves."""
    contents = case.contents
    for kb in (step.kb for step in steps if step.kb is not None):
        found = case.catalog.find(case.product.key, kb)
        contents = contents.after(found[1] if found else Update(kb, UpdateKind.OTHER))
    return contents


def leaves_track(catalog: Catalog, product: str, month: Month, update: Update) -> bool:
    """Whether a package takes a host off the hotpatch track until the next baseline."""
    if update.kind is UpdateKind.OUT_OF_BAND:
        return update.keeps_track is not True
    return update.kind is UpdateKind.LCU and not catalog.products[product][month].is_baseline
