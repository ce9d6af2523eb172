# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What does a catalog hold, in a few lines?"""

from __future__ import annotations

import hashlib
import json
import typing as t
from dataclasses import dataclass

from .calendar import actual_kind, planned_kind
from .catalog import Catalog, ProductMonth, Update
from .codec import encode
from .model import Month, UpdateKind


@dataclass(frozen=True)
class MonthSummary:
    """One product and month. ``cves`` is None when the month's feed was not read."""

    product: str
    month: Month
    kind: str
    planned: str
    lcu: str | None
    hotpatch: str | None
    others: tuple[str, ...]
    cves: int | None
    hotpatch_cves: int | None
    left_open: tuple[str, ...]

    def as_dict(self) -> dict[str, t.Any]:
        """The shape of the catalog module's result."""
        return t.cast("dict[str, t.Any]", encode(self))


def summarize_months(catalog: Catalog) -> list[MonthSummary]:
    """Every product and month with something to install, in order."""
    return [_summary(product, month, entry) for product in sorted(catalog.products) for month, entry in catalog.months(product)]


def _summary(product: str, month: Month, entry: ProductMonth) -> MonthSummary:
    hotpatches = {update.kb for update in entry.updates if update.kind is UpdateKind.HOTPATCH}
    lcu = entry.lcu
    fixed = [row for row in entry.vulnerabilities if lcu is not None and lcu.kb in row.fixed_by]
    both = [row for row in fixed if hotpatches & set(row.fixed_by)]
    others = [update for update in entry.updates if update not in (entry.lcu, entry.hotpatch)]
    known = entry.cves_known and lcu is not None
    return MonthSummary(
        product=product,
        month=month,
        kind=actual_kind(entry).value,
        planned=planned_kind(month).value,
        lcu=_shown(lcu),
        hotpatch=_shown(entry.hotpatch),
        others=tuple(f"{_shown(update)} ({update.kind.value})" for update in others),
        cves=len(fixed) if known else None,
        hotpatch_cves=len(both) if known and hotpatches else None,
        left_open=tuple(row.cve for row in fixed if row not in both) if hotpatches else (),
    )


def _shown(update: Update | None) -> str | None:
    if update is None:
        return None
    return f"{update.kb} {update.build}" if update.build else update.kb


def outline(catalog: Catalog) -> str:
    """One line for each month, package place and fix, for people to compare. A line changes whenever its content does."""
    lines = []
    for row in summarize_months(catalog):
        content = encode(catalog.products[row.product][row.month])
        cves = "CVEs not read" if row.cves is None else f"{row.cves} CVEs, {len(row.left_open)} left open"
        what = ", ".join(part for part in (row.lcu, row.hotpatch and f"hotpatch {row.hotpatch}", *row.others) if part)
        lines.append(f"{row.product} {row.month} {row.kind}: {what}; {cves} [{_digest(content)}]")
    lines += [f"package {kb} [{_digest(encode(package))}]" for kb, package in sorted(catalog.packages.items())]
    lines += [f"fix {fix.id} {'payload' if fix.payload else 'refused'} [{_digest(encode(fix))}]" for fix in catalog.fixes]
    return "".join(f"{line}\n" for line in lines)


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
