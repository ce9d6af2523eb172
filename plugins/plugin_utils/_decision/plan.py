# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What does a host need next, and why? Catalog, facts, policy and a date in; one answer out."""

from __future__ import annotations

import dataclasses
import datetime

from .assessment import Action, ActionKind, Assessment, CatalogState, Step, Verdict
from .calendar import newest_due, next_baseline, schedule
from .case import Case, Decision, contents_after, leaves_track
from .catalog import Catalog
from .eligibility import Prerequisite, eligibility, enrollment, unmet
from .facts import Facts
from .level import Contents, Evidence, HostLevel, Level, contents_of, judge
from .model import PRODUCTS, Product, Track, UpdateKind, product_of
from .paths import cumulative_path, hotpatch_path
from .payloads import plan_payloads
from .policy import Policy
from .reasons import Reason, reason
from .remaining import open_after, with_residual
from .residual import OpenNow, open_vulnerabilities, summarize, unknown_months


def assess(facts: Facts, catalog: Catalog, policy: Policy, today: datetime.date) -> Assessment:
    """The answer for one host. Never raises for what a host reports: what cannot be judged is ``blocked`` with its reason."""
    if facts.build is None or not facts.installation_type:
        missing = "its build" if facts.build is None else "its installation type"
        return _without_calendar(facts, catalog, None, Verdict.BLOCKED, reason("facts_incomplete", missing=missing))
    product = product_of(facts.build, facts.installation_type)
    if product is None:
        name = facts.product_name or f"Windows with build {facts.build}"
        return _without_calendar(facts, catalog, None, Verdict.NOT_ELIGIBLE, reason("product_without_hotpatch", product=name))
    months = catalog.months(product.key, today)
    if not months:
        return _without_calendar(facts, catalog, product, Verdict.BLOCKED, reason("catalog_empty", product=product.title))
    standing = judge(facts, product, catalog)
    case = Case(
        facts=facts,
        catalog=catalog,
        policy=policy,
        today=today,
        product=product,
        month=months[-1][0],
        entry=months[-1][1],
        standing=standing,
        contents=contents_of(facts, standing),
        rejoin=next_baseline(catalog, product.key, today).date,
        stale=months[-1][0] < newest_due(today, policy.catalog_grace_days),
    )
    return _answer(case)


def check_package(kb: str, facts: Facts, catalog: Catalog, policy: Policy, today: datetime.date) -> Reason | None:
    """Why a package must not go onto a host, or None.

    A package that would take an enrolled host off the hotpatch track is refused, unless it is what the plan says. Packages the
    catalog does not know pass: they are a vendor's or the owner's.
    """
    answer = assess(facts, catalog, policy, today)
    if any(step.kb == kb for step in (answer.next_action, *answer.next_action.then)):
        return None
    owners = [product for product in PRODUCTS.values() if catalog.find(product.key, kb) is not None]
    if not owners or answer.product is None:
        return None
    if all(owner.key != answer.product for owner in owners):
        names = " and ".join(owner.title for owner in owners)
        return reason("package_not_applicable", kb=kb, owner=names, product=PRODUCTS[answer.product].title)
    found = catalog.find(answer.product, kb)
    on_track = answer.track is Track.HOTPATCH and answer.verdict not in (Verdict.NOT_ELIGIBLE, Verdict.NOT_ENROLLED)
    if found is None or not on_track or not policy.hotpatch or not leaves_track(catalog, answer.product, *found):
        return None
    date = answer.next_baseline.date if answer.next_baseline else "an unknown date"
    return reason("package_wrong_track", kb=kb, date=date)


# -- one answer --------------------------------------------------------------------------------------------------------------


def _without_calendar(facts: Facts, catalog: Catalog, product: Product | None, verdict: Verdict, why: Reason) -> Assessment:
    """The answer for a host that has no place in the calendar: payloads only."""
    contents = Contents(facts.build, facts.build, facts.installed) if facts.build is not None else None
    steps = (Step(ActionKind.REBOOT, reboot=True),) if facts.pending else ()
    pending = (reason("reboot_pending", why=", ".join(facts.pending)),) if facts.pending else ()
    return Assessment(
        product=product.key if product else None,
        verdict=verdict,
        detail=None,
        track=Track.UNKNOWN,
        level=HostLevel(facts.build) if facts.build else None,
        base=None,
        expected=None,
        next_action=Action.of(steps),
        reasons=(why, *pending),
        prerequisites=(),
        residual=(),
        open_now=OpenNow(),
        next_baseline=None,
        payloads=plan_payloads(catalog, product, facts, contents),
        calendar=(),
        reboots_avoided=0,
        catalog=CatalogState(catalog.date, None, stale=False),
    )


def _answer(case: Case) -> Assessment:
    prerequisites = eligibility(case.facts, case.product) + enrollment(case.facts, case.product) if case.product.hotpatch else ()
    decision = _with_pending_reboot(case, _with_freshness(case, with_residual(case, _decide(case))))
    return Assessment(
        product=case.product.key,
        verdict=decision.verdict,
        detail=decision.detail,
        track=case.standing.track,
        level=case.standing.level,
        base=case.standing.base,
        expected=_expected(case, decision),
        next_action=Action.of(decision.steps),
        reasons=decision.reasons + _remarks(case, decision.steps),
        prerequisites=prerequisites,
        residual=open_after(case, decision.steps),
        open_now=summarize(open_vulnerabilities(case.catalog, case.product, case.contents, case.today)),
        next_baseline=next_baseline(case.catalog, case.product.key, case.today),
        payloads=plan_payloads(case.catalog, case.product, case.facts, case.contents),
        calendar=schedule(case.catalog, case.product.key, case.today),
        reboots_avoided=_reboots_avoided(case),
        catalog=CatalogState(case.catalog.date, case.month, case.stale),
    )


def _decide(case: Case) -> Decision:
    build = case.standing.level.build
    if case.standing.level.evidence is Evidence.AMBIGUOUS:
        return Decision(Verdict.BLOCKED, reasons=(reason("level_ambiguous", build=build, kbs=" and ".join(case.standing.choices)),))
    if not case.policy.hotpatch:
        return cumulative_path(case).because(reason("policy_no_hotpatch"))
    if not case.product.hotpatch:
        return _as(Verdict.NOT_ELIGIBLE, cumulative_path(case), reason("product_without_hotpatch", product=case.product.title))
    if codes := unmet(eligibility(case.facts, case.product)):
        return _as(Verdict.NOT_ELIGIBLE, cumulative_path(case), reason("not_eligible", codes=_remedies(case, codes)))
    if codes := unmet(enrollment(case.facts, case.product)):
        path = _as(Verdict.NOT_ENROLLED, hotpatch_path(case), reason("not_enrolled", codes=_remedies(case, codes)))
        return dataclasses.replace(path, steps=(Step(ActionKind.ENROLL), *path.steps))
    return hotpatch_path(case)


def _as(verdict: Verdict, path: Decision, why: Reason) -> Decision:
    """The path's steps under another verdict; what is blocked stays blocked."""
    if path.verdict is Verdict.BLOCKED:
        return path.because(why)
    return Decision(verdict, path.steps, (why, *path.reasons))


def _remedies(case: Case, codes: list[str]) -> str:
    rows: tuple[Prerequisite, ...] = eligibility(case.facts, case.product) + enrollment(case.facts, case.product)
    return "; ".join(f"{row.code}: {row.remedy.rstrip('.')}" for row in rows if row.code in codes)


# -- what stands above the paths ---------------------------------------------------------------------------------------------


def _with_freshness(case: Case, decision: Decision) -> Decision:
    """A stale catalog never says ``current``: what it does not know of is not done."""
    if not case.stale:
        return decision
    why = reason("catalog_stale", month=case.month, due=newest_due(case.today, case.policy.catalog_grace_days))
    if decision.verdict is Verdict.CURRENT:
        return Decision(Verdict.BLOCKED, reasons=(why, *decision.reasons))
    return dataclasses.replace(decision, reasons=(*decision.reasons, why))


def _with_pending_reboot(case: Case, decision: Decision) -> Decision:
    if not case.facts.pending:
        return decision
    why = reason("reboot_pending", why=", ".join(case.facts.pending))
    steps = (Step(ActionKind.REBOOT, reboot=True), *decision.steps) if decision.verdict is not Verdict.BLOCKED else ()
    return dataclasses.replace(decision, steps=steps, reasons=(why, *decision.reasons))


def _remarks(case: Case, steps: tuple[Step, ...]) -> tuple[Reason, ...]:
    """What the reader should know beside the verdict."""
    remarks = []
    level = case.standing.level
    if level.evidence is Evidence.BUILD:
        remarks.append(reason("level_by_build_only", build=level.build, kb=level.kb))
    if months := unknown_months(case.catalog, case.product, contents_after(case, steps), case.today):
        remarks.append(reason("residual_unknown", months=", ".join(str(month) for month in months[-6:])))
    return tuple(remarks)


def _expected(case: Case, decision: Decision) -> Level | None:
    """Where the calendar wants the host to be: the last level among the steps, else the month's level on the host's track."""
    kbs = [step.kb for step in decision.steps if step.kb]
    for kb in reversed(kbs):
        found = case.catalog.find(case.product.key, kb)
        if found is not None and found[1].kind is not UpdateKind.COMPANION:
            return Level.of(*found)
    hotpatch = case.entry.hotpatch if case.standing.track is Track.HOTPATCH and case.policy.hotpatch else None
    update = hotpatch or case.entry.lcu
    return Level.of(case.month, update) if update is not None else None


def _reboots_avoided(case: Case) -> int:
    """The months the host took as a hotpatch: those between its baseline and its level, and those whose hotpatch is listed."""
    base, level = case.standing.base, case.standing.level
    count = 0
    for month, entry in case.catalog.months(case.product.key, case.today):
        hotpatches = [update.kb for update in entry.updates if update.kind is UpdateKind.HOTPATCH]
        inside = base is not None and base.month is not None and level.month is not None and base.month < month <= level.month
        count += bool(hotpatches) and (inside or any(kb in case.facts.installed for kb in hotpatches))
    return count
