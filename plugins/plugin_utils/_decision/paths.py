# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Which packages bring a host to the month's level: along the hotpatch track, or by cumulative updates?"""

from __future__ import annotations

from .assessment import ActionKind, Detail, Step, Verdict
from .calendar import MonthKind, base_month, planned_kind
from .case import Case, Decision, step_of
from .catalog import Update
from .level import Contents, Level
from .model import Build, Month, Track
from .reasons import Reason, reason
from .residual import open_vulnerabilities


def cumulative_path(case: Case) -> Decision:
    """For hosts that do not hotpatch: the newest cumulative update."""
    lcu = case.entry.lcu
    if lcu is None:
        return _lacks_lcu(case)
    if case.contents.holds(lcu):
        return _up_to_date(case, Level.of(case.month, lcu))
    step = step_of(case, ActionKind.CUMULATIVE_UPDATE, lcu)
    return Decision(Verdict.CUMULATIVE_UPDATE, (step,), (reason("cumulative_update_due", kb=lcu.kb, month=case.month),))


def hotpatch_path(case: Case) -> Decision:
    """For hosts that hotpatch: on the track, behind its baseline, or off it."""
    base = base_month(case.catalog, case.product.key, case.month)
    if base is None or base[1].lcu is None:
        why = reason("catalog_lacks_baseline", product=case.product.title, month=case.month)
        return Decision(Verdict.BLOCKED, reasons=(why,))
    month, baseline = base[0], base[1].lcu
    standing = case.standing.base
    if case.standing.track is Track.HOTPATCH and standing is not None and standing.month is not None and standing.month >= month:
        return _on_track(case, month)
    if baseline.build is not None and (case.standing.level.build or Build(0, 0)) < baseline.build:
        return _behind(case, month, baseline)
    return _off_track(case)


def _on_track(case: Case, base: Month) -> Decision:
    if case.month == base:
        return _up_to_date(case, case.standing.level)
    steps, reasons = _hotpatch_steps(case, base, case.contents)
    if not steps:
        return _up_to_date(case, case.standing.level)
    return Decision(Verdict.HOTPATCH, steps, reasons)


def _hotpatch_steps(case: Case, base: Month, contents: Contents) -> tuple[tuple[Step, ...], tuple[Reason, ...]]:
    """The month's hotpatch, and what goes beside it, for a host with these contents that stands on the baseline."""
    steps: list[Step] = []
    reasons: list[Reason] = []
    hotpatch = case.entry.hotpatch
    if hotpatch is not None and not contents.holds(hotpatch):
        steps.append(step_of(case, ActionKind.HOTPATCH, hotpatch))
        reasons.append(reason("hotpatch_available", kb=hotpatch.kb, month=case.month))
        contents = contents.after(hotpatch)
    for companion, cves in _companions(case, base, contents):
        steps.append(step_of(case, ActionKind.HOTPATCH, companion))
        reasons.append(reason("companion_available", kb=companion.kb, cves=", ".join(cves)))
    return tuple(steps), tuple(reasons)


def _companions(case: Case, base: Month, contents: Contents) -> list[tuple[Update, list[str]]]:
    """Packages beside the quarter's hotpatches that close what those leave open."""
    found = open_vulnerabilities(case.catalog, case.product, contents, case.today)
    rows = []
    for month, entry in case.catalog.months(case.product.key, case.today):
        for companion in entry.companions if month > base else ():
            cves = [vulnerability.cve for _month, vulnerability in found if companion.kb in vulnerability.fixed_by]
            if cves and not contents.holds(companion):
                rows.append((companion, cves))
    return rows


def _behind(case: Case, month: Month, baseline: Update) -> Decision:
    steps = (step_of(case, ActionKind.BASELINE, baseline),)
    if case.month != month:
        why = reason("baseline_missed", month=month, kb=baseline.kb)
        later, whys = _hotpatch_steps(case, month, case.contents.after(baseline))
        return Decision(Verdict.BASELINE, steps + later, (why, *whys), Detail.MISSED)
    if planned_kind(month) is MonthKind.BASELINE:
        return Decision(Verdict.BASELINE, steps, (reason("baseline_planned", month=month, kb=baseline.kb),), Detail.PLANNED)
    why = reason("baseline_unplanned", month=month, kb=baseline.kb, product=case.product.title)
    return Decision(Verdict.BASELINE, steps, (why,), Detail.UNPLANNED)


def _off_track(case: Case) -> Decision:
    why = _why_off_track(case)
    lcu = case.entry.lcu
    if lcu is None:
        return _lacks_lcu(case).because(why)
    if case.contents.holds(lcu):
        return Decision(Verdict.CURRENT, reasons=(why, reason("up_to_date_cumulative", month=case.month, date=case.rejoin)))
    step = step_of(case, ActionKind.CUMULATIVE_UPDATE, lcu)
    return Decision(Verdict.CUMULATIVE_UPDATE, (step,), (why, reason("cumulative_update_due", kb=lcu.kb, month=case.month)))


def _why_off_track(case: Case) -> Reason:
    level = case.standing.level
    if level.kb is None:
        return reason("level_unlisted", build=level.build)
    return reason("wrong_track", kb=level.kb, build=level.build, date=case.rejoin)


def _lacks_lcu(case: Case) -> Decision:
    return Decision(Verdict.BLOCKED, reasons=(reason("catalog_lacks_lcu", product=case.product.title, month=case.month),))


def _up_to_date(case: Case, level: Level) -> Decision:
    return Decision(Verdict.CURRENT, reasons=(reason("up_to_date", kb=level.kb, build=level.build, month=case.month),))
