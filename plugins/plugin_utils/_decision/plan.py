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
from dataclasses import dataclass

from .assessment import Action, ActionKind, Assessment, CatalogState, Detail, Step, Verdict
from .calendar import MonthKind, base_month, newest_due, next_baseline, planned_kind, schedule
from .catalog import Catalog, ProductMonth, Update
from .eligibility import Prerequisite, eligibility, enrollment, unmet
from .facts import Facts
from .level import Contents, Evidence, HostLevel, Level, Standing, contents_of, judge
from .model import PRODUCTS, Build, Month, Product, Track, UpdateKind, product_of
from .payloads import plan_payloads, remedy_of, unavailable_fixes
from .policy import Policy
from .reasons import Reason, reason
from .residual import OpenCve, OpenNow, open_vulnerabilities, residual, summarize, unknown_months


@dataclass(frozen=True)
class _Case:
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
class _Decision:
    verdict: Verdict
    steps: tuple[Step, ...] = ()
    reasons: tuple[Reason, ...] = ()
    detail: Detail | None = None

    def because(self, *reasons: Reason) -> _Decision:
        """The same with more reasons in front."""
        return dataclasses.replace(self, reasons=(*reasons, *self.reasons))


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
    case = _Case(
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
    if found is None or not on_track or not policy.hotpatch or not _leaves_track(catalog, answer.product, *found):
        return None
    date = answer.next_baseline.date if answer.next_baseline else "an unknown date"
    return reason("package_wrong_track", kb=kb, date=date)


def _leaves_track(catalog: Catalog, product: str, month: Month, update: Update) -> bool:
    if update.kind is UpdateKind.OUT_OF_BAND:
        return update.keeps_track is not True
    return update.kind is UpdateKind.LCU and not catalog.products[product][month].is_baseline


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


def _answer(case: _Case) -> Assessment:
    prerequisites = eligibility(case.facts, case.product) + enrollment(case.facts, case.product) if case.product.hotpatch else ()
    decision = _with_pending_reboot(case, _with_freshness(case, _with_residual(case, _decide(case))))
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
        residual=_open_after(case, decision.steps),
        open_now=summarize(open_vulnerabilities(case.catalog, case.product, case.contents, case.today)),
        next_baseline=next_baseline(case.catalog, case.product.key, case.today),
        payloads=plan_payloads(case.catalog, case.product, case.facts, case.contents),
        calendar=schedule(case.catalog, case.product.key, case.today),
        reboots_avoided=_reboots_avoided(case),
        catalog=CatalogState(case.catalog.date, case.month, case.stale),
    )


def _decide(case: _Case) -> _Decision:
    build = case.standing.level.build
    if case.standing.level.evidence is Evidence.AMBIGUOUS:
        return _Decision(Verdict.BLOCKED, reasons=(reason("level_ambiguous", build=build, kbs=" and ".join(case.standing.choices)),))
    if not case.policy.hotpatch:
        return _cumulative_path(case).because(reason("policy_no_hotpatch"))
    if not case.product.hotpatch:
        return _as(Verdict.NOT_ELIGIBLE, _cumulative_path(case), reason("product_without_hotpatch", product=case.product.title))
    if codes := unmet(eligibility(case.facts, case.product)):
        return _as(Verdict.NOT_ELIGIBLE, _cumulative_path(case), reason("not_eligible", codes=_remedies(case, codes)))
    if codes := unmet(enrollment(case.facts, case.product)):
        path = _as(Verdict.NOT_ENROLLED, _hotpatch_path(case), reason("not_enrolled", codes=_remedies(case, codes)))
        return dataclasses.replace(path, steps=(Step(ActionKind.ENROLL), *path.steps))
    return _hotpatch_path(case)


def _as(verdict: Verdict, path: _Decision, why: Reason) -> _Decision:
    """The path's steps under another verdict; what is blocked stays blocked."""
    if path.verdict is Verdict.BLOCKED:
        return path.because(why)
    return _Decision(verdict, path.steps, (why, *path.reasons))


def _remedies(case: _Case, codes: list[str]) -> str:
    rows: tuple[Prerequisite, ...] = eligibility(case.facts, case.product) + enrollment(case.facts, case.product)
    return "; ".join(f"{row.code}: {row.remedy.rstrip('.')}" for row in rows if row.code in codes)


# -- the two paths -----------------------------------------------------------------------------------------------------------


def _cumulative_path(case: _Case) -> _Decision:
    lcu = case.entry.lcu
    if lcu is None:
        return _lacks_lcu(case)
    if case.contents.holds(lcu):
        return _up_to_date(case, Level.of(case.month, lcu))
    step = _step(case, ActionKind.CUMULATIVE_UPDATE, lcu)
    return _Decision(Verdict.CUMULATIVE_UPDATE, (step,), (reason("cumulative_update_due", kb=lcu.kb, month=case.month),))


def _hotpatch_path(case: _Case) -> _Decision:
    base = base_month(case.catalog, case.product.key, case.month)
    if base is None or base[1].lcu is None:
        why = reason("catalog_lacks_baseline", product=case.product.title, month=case.month)
        return _Decision(Verdict.BLOCKED, reasons=(why,))
    month, baseline = base[0], base[1].lcu
    standing = case.standing.base
    if case.standing.track is Track.HOTPATCH and standing is not None and standing.month is not None and standing.month >= month:
        return _on_track(case, month)
    if baseline.build is not None and (case.standing.level.build or Build(0, 0)) < baseline.build:
        return _behind(case, month, baseline)
    return _off_track(case)


def _on_track(case: _Case, base: Month) -> _Decision:
    if case.month == base:
        return _up_to_date(case, case.standing.level)
    steps, reasons = _hotpatch_steps(case, base, case.contents)
    if not steps:
        return _up_to_date(case, case.standing.level)
    return _Decision(Verdict.HOTPATCH, steps, reasons)


def _hotpatch_steps(case: _Case, base: Month, contents: Contents) -> tuple[tuple[Step, ...], tuple[Reason, ...]]:
    """The month's hotpatch, and what goes beside it, for a host with these contents that stands on the baseline."""
    steps: list[Step] = []
    reasons: list[Reason] = []
    hotpatch = case.entry.hotpatch
    if hotpatch is not None and not contents.holds(hotpatch):
        steps.append(_step(case, ActionKind.HOTPATCH, hotpatch))
        reasons.append(reason("hotpatch_available", kb=hotpatch.kb, month=case.month))
        contents = contents.after(hotpatch)
    for companion, cves in _companions(case, base, contents):
        steps.append(_step(case, ActionKind.HOTPATCH, companion))
        reasons.append(reason("companion_available", kb=companion.kb, cves=", ".join(cves)))
    return tuple(steps), tuple(reasons)


def _companions(case: _Case, base: Month, contents: Contents) -> list[tuple[Update, list[str]]]:
    """Packages beside the quarter's hotpatches that close what those leave open."""
    found = open_vulnerabilities(case.catalog, case.product, contents, case.today)
    rows = []
    for month, entry in case.catalog.months(case.product.key, case.today):
        for companion in entry.companions if month > base else ():
            cves = [vulnerability.cve for _month, vulnerability in found if companion.kb in vulnerability.fixed_by]
            if cves and not contents.holds(companion):
                rows.append((companion, cves))
    return rows


def _behind(case: _Case, month: Month, baseline: Update) -> _Decision:
    steps = (_step(case, ActionKind.BASELINE, baseline),)
    if case.month != month:
        why = reason("baseline_missed", month=month, kb=baseline.kb)
        later, whys = _hotpatch_steps(case, month, case.contents.after(baseline))
        return _Decision(Verdict.BASELINE, steps + later, (why, *whys), Detail.MISSED)
    if planned_kind(month) is MonthKind.BASELINE:
        return _Decision(Verdict.BASELINE, steps, (reason("baseline_planned", month=month, kb=baseline.kb),), Detail.PLANNED)
    why = reason("baseline_unplanned", month=month, kb=baseline.kb, product=case.product.title)
    return _Decision(Verdict.BASELINE, steps, (why,), Detail.UNPLANNED)


def _off_track(case: _Case) -> _Decision:
    why = _why_off_track(case)
    lcu = case.entry.lcu
    if lcu is None:
        return _lacks_lcu(case).because(why)
    if case.contents.holds(lcu):
        return _Decision(Verdict.CURRENT, reasons=(why, reason("up_to_date_cumulative", month=case.month, date=case.rejoin)))
    step = _step(case, ActionKind.CUMULATIVE_UPDATE, lcu)
    return _Decision(Verdict.CUMULATIVE_UPDATE, (step,), (why, reason("cumulative_update_due", kb=lcu.kb, month=case.month)))


def _why_off_track(case: _Case) -> Reason:
    level = case.standing.level
    if level.kb is None:
        return reason("level_unlisted", build=level.build)
    return reason("wrong_track", kb=level.kb, build=level.build, date=case.rejoin)


def _lacks_lcu(case: _Case) -> _Decision:
    return _Decision(Verdict.BLOCKED, reasons=(reason("catalog_lacks_lcu", product=case.product.title, month=case.month),))


def _up_to_date(case: _Case, level: Level) -> _Decision:
    return _Decision(Verdict.CURRENT, reasons=(reason("up_to_date", kb=level.kb, build=level.build, month=case.month),))


def _step(case: _Case, kind: ActionKind, update: Update) -> Step:
    reboot = kind is not ActionKind.HOTPATCH
    return Step(kind, update.kb, update.build, reboot, case.catalog.packages.get(update.kb))


# -- what stays open ---------------------------------------------------------------------------------------------------------


def _with_residual(case: _Case, decision: _Decision) -> _Decision:
    """Policy's reboot-now rules over what the decision would leave open."""
    if decision.verdict is Verdict.BLOCKED:
        return decision
    rows = [row for row in _open_after(case, decision.steps) if row.reboot_now is not None]
    if not rows:
        return decision
    steps = _closing_steps(case, decision.steps, rows)
    if not steps:
        return dataclasses.replace(decision, reasons=(*decision.reasons, reason("residual_no_remedy", cves=_cves(rows))))
    whys = (*_rule_reasons(rows, steps), *_track_reasons(case, steps))
    if decision.verdict in (Verdict.CURRENT, Verdict.HOTPATCH):
        contents = _contents_after(case, steps)
        # A cumulative update of the calendar contains the hotpatch; a vendor's package does not.
        later = tuple(step for step in decision.steps if not _is_held(case, contents, step))
        return _Decision(Verdict.CUMULATIVE_UPDATE, (*steps, *later), (*whys, *decision.reasons))
    return dataclasses.replace(decision, steps=(*decision.steps, *steps), reasons=(*decision.reasons, *whys))


def _open_after(case: _Case, steps: tuple[Step, ...]) -> tuple[OpenCve, ...]:
    """What stays open once the steps are done."""
    contents = _contents_after(case, steps)
    found = open_vulnerabilities(case.catalog, case.product, contents, case.today)
    plan = plan_payloads(case.catalog, case.product, case.facts, contents)
    return residual(found, unavailable_fixes(case.catalog, plan), case.facts, case.policy.reboot_now, case.rejoin)


def _contents_after(case: _Case, steps: tuple[Step, ...]) -> Contents:
    """The host's contents once the steps are done. Packages the calendar does not know bring nothing but themselves."""
    contents = case.contents
    for kb in (step.kb for step in steps if step.kb is not None):
        found = case.catalog.find(case.product.key, kb)
        contents = contents.after(found[1] if found else Update(kb, UpdateKind.OTHER))
    return contents


def _is_held(case: _Case, contents: Contents, step: Step) -> bool:
    found = case.catalog.find(case.product.key, step.kb) if step.kb is not None else None
    return found is not None and contents.holds(found[1])


def _closing_steps(case: _Case, before: tuple[Step, ...], rows: list[OpenCve]) -> tuple[Step, ...]:
    """The packages that close the rows: the newest cumulative update for Windows' own, then what the own list names."""
    contents = _contents_after(case, before)
    steps: list[Step] = []
    lcu = case.entry.lcu
    if lcu is not None and not contents.holds(lcu) and any(row.month is not None for row in rows):
        steps.append(_step(case, ActionKind.CUMULATIVE_UPDATE, lcu))
        contents = contents.after(lcu)
    wanted = {row.cve for row in rows if row.month is None}
    plan = plan_payloads(case.catalog, case.product, case.facts, contents)
    for fix in unavailable_fixes(case.catalog, plan):
        kb = remedy_of(fix, case.catalog, case.product)
        if kb is None or not wanted & {*fix.cves, fix.id} or any(step.kb == kb for step in steps):
            continue
        found = case.catalog.find(case.product.key, kb)
        update = found[1] if found else Update(kb, UpdateKind.OTHER)
        steps.append(_step(case, ActionKind.CUMULATIVE_UPDATE, update))
    return tuple(steps)


def _rule_reasons(rows: list[OpenCve], steps: tuple[Step, ...]) -> list[Reason]:
    kbs = " and ".join(step.kb for step in steps if step.kb)
    by_rule: dict[str, list[OpenCve]] = {}
    for row in rows:
        by_rule.setdefault(str(row.reboot_now), []).append(row)
    return [reason(f"residual_{rule}", cves=_cves(found), kb=kbs) for rule, found in by_rule.items()]


def _track_reasons(case: _Case, steps: tuple[Step, ...]) -> list[Reason]:
    found = [case.catalog.find(case.product.key, step.kb) for step in steps if step.kb]
    leaving = [item[1].kb for item in found if item is not None and _leaves_track(case.catalog, case.product.key, *item)]
    return [reason("leaves_track", kb=kb, date=case.rejoin) for kb in leaving if case.standing.track is Track.HOTPATCH]


def _cves(rows: list[OpenCve]) -> str:
    names = [row.cve for row in rows]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


# -- what stands above the paths ---------------------------------------------------------------------------------------------


def _with_freshness(case: _Case, decision: _Decision) -> _Decision:
    """A stale catalog never says ``current``: what it does not know of is not done."""
    if not case.stale:
        return decision
    why = reason("catalog_stale", month=case.month, due=newest_due(case.today, case.policy.catalog_grace_days))
    if decision.verdict is Verdict.CURRENT:
        return _Decision(Verdict.BLOCKED, reasons=(why, *decision.reasons))
    return dataclasses.replace(decision, reasons=(*decision.reasons, why))


def _with_pending_reboot(case: _Case, decision: _Decision) -> _Decision:
    if not case.facts.pending:
        return decision
    why = reason("reboot_pending", why=", ".join(case.facts.pending))
    steps = (Step(ActionKind.REBOOT, reboot=True), *decision.steps) if decision.verdict is not Verdict.BLOCKED else ()
    return dataclasses.replace(decision, steps=steps, reasons=(why, *decision.reasons))


def _remarks(case: _Case, steps: tuple[Step, ...]) -> tuple[Reason, ...]:
    """What the reader should know beside the verdict."""
    remarks = []
    level = case.standing.level
    if level.evidence is Evidence.BUILD:
        remarks.append(reason("level_by_build_only", build=level.build, kb=level.kb))
    if months := unknown_months(case.catalog, case.product, _contents_after(case, steps), case.today):
        remarks.append(reason("residual_unknown", months=", ".join(str(month) for month in months[-6:])))
    return tuple(remarks)


def _expected(case: _Case, decision: _Decision) -> Level | None:
    """Where the calendar wants the host to be: the last level among the steps, else the month's level on the host's track."""
    kbs = [step.kb for step in decision.steps if step.kb]
    for kb in reversed(kbs):
        found = case.catalog.find(case.product.key, kb)
        if found is not None and found[1].kind is not UpdateKind.COMPANION:
            return Level.of(*found)
    hotpatch = case.entry.hotpatch if case.standing.track is Track.HOTPATCH and case.policy.hotpatch else None
    update = hotpatch or case.entry.lcu
    return Level.of(case.month, update) if update is not None else None


def _reboots_avoided(case: _Case) -> int:
    """The months the host took as a hotpatch: those between its baseline and its level, and those whose hotpatch is listed."""
    base, level = case.standing.base, case.standing.level
    count = 0
    for month, entry in case.catalog.months(case.product.key, case.today):
        hotpatches = [update.kb for update in entry.updates if update.kind is UpdateKind.HOTPATCH]
        inside = base is not None and base.month is not None and level.month is not None and base.month < month <= level.month
        count += bool(hotpatches) and (inside or any(kb in case.facts.installed for kb in hotpatches))
    return count
