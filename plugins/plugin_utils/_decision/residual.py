# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Which CVEs stay open on a host that goes no further, and is one of them worth a reboot now?"""

from __future__ import annotations

import datetime
import typing as t
from collections.abc import Sequence
from dataclasses import dataclass

from .catalog import Catalog, Fix, Update, Vulnerability
from .facts import Facts
from .level import Contents
from .model import Month, Product, UpdateKind
from .policy import RebootNow

_SEVERITIES: t.Final = {"critical": 0, "important": 1, "moderate": 2, "low": 3}


@dataclass(frozen=True)
class OpenCve:
    """A CVE that stays open. ``closed_by`` are the packages that would close it, in the catalog's order.

    ``month`` is None for fixes of the own list. ``covered_by`` is the payload in force that closes it in memory; such a CVE is never
    worth a reboot. ``reboot_now`` is the policy's rule that it meets.
    """

    cve: str
    title: str
    severity: str | None
    cvss: float | None
    exploited: bool
    month: Month | None
    open_until: datetime.date | None
    closed_by: tuple[str, ...]
    covered_by: str | None
    reboot_now: str | None


@dataclass(frozen=True)
class OpenNow:
    """How much is open at this moment, before the next action: counts, because a host far behind has hundreds."""

    count: int = 0
    critical: int = 0
    exploited: int = 0


def open_vulnerabilities(catalog: Catalog, product: Product, contents: Contents, today: datetime.date) -> list[tuple[Month, Vulnerability]]:
    """Every CVE of the product's months none of whose packages the host holds."""
    found: list[tuple[Month, Vulnerability]] = []
    packages: dict[str, Update] = {}
    for month, entry in catalog.months(product.key, today):
        packages.update({update.kb: update for update in (*entry.related, *entry.updates)})
        named = {kb for vulnerability in entry.vulnerabilities for kb in vulnerability.fixed_by}
        held = {kb for kb in named if (contents.holds(packages[kb]) if kb in packages else kb in contents.kbs)}
        found += [(month, vulnerability) for vulnerability in entry.vulnerabilities if held.isdisjoint(vulnerability.fixed_by)]
    return found


def unknown_months(catalog: Catalog, product: Product, contents: Contents, today: datetime.date) -> list[Month]:
    """Months above the host's cumulative content of which only the calendar is known: what they leave open cannot be said.

    Having such a month's hotpatch does not help: which CVEs it leaves to the cumulative update is just what is not known.
    """
    months = [(month, entry) for month, entry in catalog.months(product.key, today) if not entry.cves_known]
    return [month for month, entry in months if any(_is_above(update, contents) for update in entry.updates)]


def _is_above(update: Update, contents: Contents) -> bool:
    if update.kind not in (UpdateKind.LCU, UpdateKind.HOTPATCH) or update.build is None:
        return False
    return update.build > contents.cumulative and not (update.kind is UpdateKind.LCU and update.kb in contents.kbs)


def summarize(found: Sequence[tuple[Month, Vulnerability]]) -> OpenNow:
    """The counts of a list of open CVEs."""
    rows = {vulnerability.cve: vulnerability for _month, vulnerability in found}.values()
    return OpenNow(
        count=len(rows),
        critical=sum((row.severity or "").lower() == "critical" for row in rows),
        exploited=sum(row.exploited for row in rows),
    )


def residual(
    found: Sequence[tuple[Month, Vulnerability]], fixes: Sequence[Fix], facts: Facts, rules: RebootNow, until: datetime.date
) -> tuple[OpenCve, ...]:
    """The open CVEs of the catalog's months and of the own list's fixes, worst first.

    :param fixes: fixes of the own list that have no payload and are not contained in the host's updates.
    :param until: the date of the next baseline.
    """
    rows = [_of_month(month, vulnerability, facts, rules, until) for month, vulnerability in found]
    rows += [_of_fix(fix, cve, facts, rules, until) for fix in fixes for cve in fix.cves or ("",)]
    return tuple(sorted({row.cve or row.title: row for row in rows}.values(), key=_order))


def _of_month(month: Month, entry: Vulnerability, facts: Facts, rules: RebootNow, until: datetime.date) -> OpenCve:
    rule = rules.rule(cves=(entry.cve,), severity=entry.severity, cvss=entry.cvss, exploited=entry.exploited)
    cover = _cover(facts, entry.cve)
    return OpenCve(
        cve=entry.cve,
        title=entry.title,
        severity=entry.severity,
        cvss=entry.cvss,
        exploited=entry.exploited,
        month=month,
        open_until=until,
        closed_by=entry.fixed_by,
        covered_by=cover,
        reboot_now=None if cover else rule,
    )


def _of_fix(fix: Fix, cve: str, facts: Facts, rules: RebootNow, until: datetime.date) -> OpenCve:
    cover = _cover(facts, cve)
    rule = rules.rule(cves=(cve,), severity=fix.severity, cvss=fix.cvss, exploited=fix.exploited)
    return OpenCve(
        cve=cve or fix.id,
        title=fix.title,
        severity=fix.severity,
        cvss=fix.cvss,
        exploited=fix.exploited,
        month=None,
        open_until=until if fix.contained_in else None,
        closed_by=fix.contained_in,
        covered_by=cover,
        reboot_now=None if cover else rule,
    )


def _cover(facts: Facts, cve: str) -> str | None:
    return next((payload.id for payload in sorted(facts.payloads, key=lambda p: p.id) if payload.in_force and cve in payload.cves), None)


def _order(row: OpenCve) -> tuple[bool, bool, int, float, str]:
    return (row.reboot_now is None, not row.exploited, _SEVERITIES.get((row.severity or "").lower(), 4), -(row.cvss or 0.0), row.cve)
