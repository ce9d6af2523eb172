# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Which payloads of the own list does a host want, which has it outgrown, and which fixes have none?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .catalog import Catalog, Fix, PayloadFile, Update
from .facts import Facts
from .level import Contents
from .model import Product
from .reasons import reason


@dataclass(frozen=True)
class WantedPayload:
    """A payload the host should have in force; whether the module is there is for preflight to say.

    ``in_force``: the host reports it, in this sequence or a later one.
    """

    id: str
    sequence: int
    sha256: str
    file: str
    cves: tuple[str, ...]
    module: str
    in_force: bool = False


@dataclass(frozen=True)
class DroppedPayload:
    """A payload that the host holds and no longer needs."""

    id: str
    reason_code: str
    reason_text: str


@dataclass(frozen=True)
class UnavailableFix:
    """A fix that cannot go into memory; ``then_kb`` is the package that brings it instead, when one is known."""

    id: str
    reason_code: str
    reason_text: str
    then_kb: str | None


@dataclass(frozen=True)
class PayloadPlan:
    """The payload part of an assessment."""

    wanted: tuple[WantedPayload, ...] = ()
    drop: tuple[DroppedPayload, ...] = ()
    unavailable: tuple[UnavailableFix, ...] = ()


def plan_payloads(catalog: Catalog, product: Product | None, facts: Facts, contents: Contents | None) -> PayloadPlan:
    """The payload part for a host; ``contents`` is None when its level is unknown, then only listed packages count."""
    fixes = [fix for fix in catalog.fixes if _concerns(fix, product)]
    contained = {fix.id: kb for fix in fixes if (kb := containing(fix, catalog, product, facts, contents)) is not None}
    missing = [fix for fix in fixes if fix.id not in contained]
    return PayloadPlan(
        wanted=tuple(_wanted(fix, fix.payload, facts) for fix in missing if fix.payload is not None),
        # Also one that is in no process now: the host still holds it ready for those that start later.
        drop=tuple(_dropped(payload.id, contained[payload.id]) for payload in facts.payloads if payload.id in contained),
        unavailable=tuple(
            UnavailableFix(fix.id, fix.refusal.code, fix.refusal.text, remedy_of(fix, catalog, product))
            for fix in missing
            if fix.refusal is not None
        ),
    )


def unavailable_fixes(catalog: Catalog, plan: PayloadPlan) -> list[Fix]:
    """The own list's entries of a plan's unavailable part."""
    ids = {fix.id for fix in plan.unavailable}
    return [fix for fix in catalog.fixes if fix.id in ids]


def containing(fix: Fix, catalog: Catalog, product: Product | None, facts: Facts, contents: Contents | None) -> str | None:
    """The package on the host that contains a fix, or None."""
    for kb in fix.contained_in:
        found = catalog.find(product.key, kb) if product is not None else None
        if kb in facts.installed or (contents is not None and _held(contents, kb, found[1] if found else None)):
            return kb
    return None


def remedy_of(fix: Fix, catalog: Catalog, product: Product | None) -> str | None:
    """The package to install for a fix without a payload.

    One of the product's own calendar first, then one that the catalog knows where to find, then the first that is named.
    """
    kbs: Sequence[str] = fix.contained_in
    own = [kb for kb in kbs if product is not None and catalog.find(product.key, kb) is not None]
    placed = [kb for kb in kbs if kb in catalog.packages]
    return next(iter([*own, *placed, *kbs]), None)


def _concerns(fix: Fix, product: Product | None) -> bool:
    return not fix.products or (product is not None and product.key in fix.products)


def _held(contents: Contents, kb: str, update: Update | None) -> bool:
    return contents.holds(update) if update is not None else kb in contents.kbs


def _wanted(fix: Fix, payload: PayloadFile, facts: Facts) -> WantedPayload:
    there = any(found.id == fix.id and found.in_force and found.sequence >= payload.sequence for found in facts.payloads)
    return WantedPayload(fix.id, payload.sequence, payload.sha256, payload.file, fix.cves, fix.module, there)


def _dropped(name: str, kb: str) -> DroppedPayload:
    why = reason("payload_contained", kb=kb)
    return DroppedPayload(name, why.code, why.text)
