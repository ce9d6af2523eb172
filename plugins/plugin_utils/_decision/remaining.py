# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What would a decision leave open, and does policy's word on that change it?"""

from __future__ import annotations

import dataclasses

from .assessment import ActionKind, Step, Verdict
from .case import Case, Decision, contents_after, leaves_track, step_of
from .catalog import Update
from .level import Contents
from .model import Track, UpdateKind
from .payloads import plan_payloads, remedy_of, unavailable_fixes
from .reasons import Reason, reason
from .residual import OpenCve, open_vulnerabilities, residual


def with_residual(case: Case, decision: Decision) -> Decision:
    """Policy's reboot-now rules over what the decision would leave open."""
    if decision.verdict is Verdict.BLOCKED:
        return decision
    rows = [row for row in open_after(case, decision.steps) if row.reboot_now is not None]
    if not rows:
        return decision
    steps = _closing_steps(case, decision.steps, rows)
    if not steps:
        return dataclasses.replace(decision, reasons=(*decision.reasons, reason("residual_no_remedy", cves=_cves(rows))))
    whys = (*_rule_reasons(rows, steps), *_track_reasons(case, steps))
    if decision.verdict in (Verdict.CURRENT, Verdict.HOTPATCH):
        contents = contents_after(case, steps)
        # A cumulative update of the calendar contains the hotpatch; a vendor's package does not.
        later = tuple(step for step in decision.steps if not _is_held(case, contents, step))
        return Decision(Verdict.CUMULATIVE_UPDATE, (*steps, *later), (*whys, *decision.reasons))
    return dataclasses.replace(decision, steps=(*decision.steps, *steps), reasons=(*decision.reasons, *whys))


def open_after(case: Case, steps: tuple[Step, ...]) -> tuple[OpenCve, ...]:
    """What stays open once the steps are done."""
    contents = contents_after(case, steps)
    found = open_vulnerabilities(case.catalog, case.product, contents, case.today)
    plan = plan_payloads(case.catalog, case.product, case.facts, contents)
    return residual(found, unavailable_fixes(case.catalog, plan), case.facts, case.policy.reboot_now, case.rejoin)


def _is_held(case: Case, contents: Contents, step: Step) -> bool:
    found = case.catalog.find(case.product.key, step.kb) if step.kb is not None else None
    return found is not None and contents.holds(found[1])


def _closing_steps(case: Case, before: tuple[Step, ...], rows: list[OpenCve]) -> tuple[Step, ...]:
    """The packages that close the rows: the newest cumulative update for Windows' own, then what the own list names."""
    contents = contents_after(case, before)
    steps: list[Step] = []
    lcu = case.entry.lcu
    if lcu is not None and not contents.holds(lcu) and any(row.month is not None for row in rows):
        steps.append(step_of(case, ActionKind.CUMULATIVE_UPDATE, lcu))
        contents = contents.after(lcu)
    wanted = {row.cve for row in rows if row.month is None}
    plan = plan_payloads(case.catalog, case.product, case.facts, contents)
    for fix in unavailable_fixes(case.catalog, plan):
        kb = remedy_of(fix, case.catalog, case.product)
        if kb is None or not wanted & {*fix.cves, fix.id} or any(step.kb == kb for step in steps):
            continue
        found = case.catalog.find(case.product.key, kb)
        update = found[1] if found else Update(kb, UpdateKind.OTHER)
        steps.append(step_of(case, ActionKind.CUMULATIVE_UPDATE, update))
    return tuple(steps)


def _rule_reasons(rows: list[OpenCve], steps: tuple[Step, ...]) -> list[Reason]:
    kbs = " and ".join(step.kb for step in steps if step.kb)
    by_rule: dict[str, list[OpenCve]] = {}
    for row in rows:
        by_rule.setdefault(str(row.reboot_now), []).append(row)
    return [reason(f"residual_{rule}", cves=_cves(found), kb=kbs) for rule, found in by_rule.items()]


def _track_reasons(case: Case, steps: tuple[Step, ...]) -> list[Reason]:
    found = [case.catalog.find(case.product.key, step.kb) for step in steps if step.kb]
    leaving = [item[1].kb for item in found if item is not None and leaves_track(case.catalog, case.product.key, *item)]
    return [reason("leaves_track", kb=kb, date=case.rejoin) for kb in leaving if case.standing.track is Track.HOTPATCH]


def _cves(rows: list[OpenCve]) -> str:
    names = [row.cve for row in rows]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
