# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Which packages does each month hold for each product, and which CVE is fixed by which of them?"""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing as t
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .._errors import HotpatchError
from .codec import OMIT_DEFAULT, Cve, Identifier, Kb, Sha256, decode, encode
from .model import PRODUCTS, Build, Month, UpdateKind

SCHEMA: t.Final = 1


@dataclass(frozen=True)
class Update:
    """One package.

    ``build`` is None when the source does not say it. ``keeps_track`` is for out-of-band updates: whether a host on it still gets
    the quarter's hotpatches; None is unknown and counts as no.
    """

    kb: Kb
    kind: UpdateKind
    build: Build | None = None
    supersedes: tuple[Kb, ...] = ()
    keeps_track: bool | None = field(default=None, metadata=OMIT_DEFAULT)


@dataclass(frozen=True)
class Vulnerability:
    """A CVE as it concerns one product in one month; ``fixed_by`` names every package that closes it."""

    cve: Cve
    title: str
    severity: str | None
    cvss: float | None
    exploited: bool
    fixed_by: tuple[Kb, ...]


@dataclass(frozen=True)
class ProductMonth:
    """What one month brought for one product.

    ``released``: when the month's packages came out. ``revised``: the state of the document the CVEs come from.
    ``cves_known`` is False for months known from the calendar only. ``related`` are packages of other months or products that the
    month's document names as remedies.
    """

    released: datetime.date
    updates: tuple[Update, ...]
    cves_known: bool = False
    revised: datetime.date | None = None
    related: tuple[Update, ...] = ()
    vulnerabilities: tuple[Vulnerability, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def lcu(self) -> Update | None:
        """The month's cumulative update."""
        return next((update for update in self.updates if update.kind is UpdateKind.LCU), None)

    @property
    def hotpatch(self) -> Update | None:
        """The month's hotpatch; of several the one with the highest build, which contains the others."""
        known = [update for update in self.updates if update.kind is UpdateKind.HOTPATCH]
        return max(known, key=lambda update: (update.build is not None, update.build or Build(0, 0), update.kb), default=None)

    @property
    def companions(self) -> tuple[Update, ...]:
        """Packages beside the hotpatch."""
        return tuple(update for update in self.updates if update.kind is UpdateKind.COMPANION)

    @property
    def is_baseline(self) -> bool:
        """A cumulative update and no hotpatch: a baseline, whatever the plan said."""
        return self.lcu is not None and self.hotpatch is None

    @property
    def is_released(self) -> bool:
        """Whether there is anything to install at all."""
        return self.lcu is not None or self.hotpatch is not None


@dataclass(frozen=True)
class Package:
    """Where a package lies: ``file`` on the controller or ``url`` the host pulls from."""

    file: str | None = None
    url: str | None = None
    sha256: Sha256 | None = None
    size: int | None = None

    def __post_init__(self) -> None:
        if (self.file is None) == (self.url is None):
            raise ValueError("exactly one of 'file' and 'url' is needed")
        if self.url is not None and self.sha256 is None:
            raise ValueError("a package with 'url' needs 'sha256'")


@dataclass(frozen=True)
class PayloadFile:
    """A payload of ours for a fix."""

    file: str
    sha256: Sha256
    sequence: int


@dataclass(frozen=True)
class Refusal:
    """Why a fix has no payload: the builder's code and words."""

    code: str
    text: str


@dataclass(frozen=True)
class Fix:
    """An entry of the own list: a fix that goes into memory, or that cannot and why."""

    id: Identifier
    title: str
    cves: tuple[Cve, ...]
    module: str
    severity: str | None = None
    cvss: float | None = None
    exploited: bool = False
    products: tuple[str, ...] = ()
    payload: PayloadFile | None = None
    refusal: Refusal | None = None
    contained_in: tuple[Kb, ...] = ()

    def __post_init__(self) -> None:
        if (self.payload is None) == (self.refusal is None):
            raise ValueError(f"the fix {self.id!r} needs exactly one of 'payload' and 'refusal'")
        if unknown := [product for product in self.products if product not in PRODUCTS]:
            raise ValueError(f"the fix {self.id!r} names the unknown product {unknown[0]!r}; known are {', '.join(PRODUCTS)}")


@dataclass(frozen=True)
class Source:
    """What a catalog was made from: ``kind`` is ``feed``, ``calendar`` or ``own_list``."""

    kind: str
    name: str
    date: datetime.date | None = None


@dataclass(frozen=True)
class Catalog:
    """All months of all products, packages, and the own list. Compare, merge and judge it with pure functions only."""

    schema: int = SCHEMA
    date: datetime.date | None = None
    sources: tuple[Source, ...] = ()
    products: Mapping[str, Mapping[Month, ProductMonth]] = field(default_factory=dict)
    packages: Mapping[Kb, Package] = field(default_factory=dict)
    fixes: tuple[Fix, ...] = ()

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"the catalog has schema {self.schema}, this release reads {SCHEMA}")
        if unknown := [product for product in self.products if product not in PRODUCTS]:
            raise ValueError(f"unknown product {unknown[0]!r}; known are {', '.join(PRODUCTS)}")
        ids = [fix.id for fix in self.fixes]
        if doubles := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"the fix {doubles[0]!r} is listed twice")

    @classmethod
    def from_dict(cls, document: object, where: str = "catalog") -> Catalog:
        """Read a catalog or an own list; raises HotpatchError ``catalog_malformed`` naming the place."""
        if not isinstance(document, Mapping) or "schema" not in document:
            raise HotpatchError("catalog_malformed", message="A catalog is a mapping with the key 'schema'.", where=where)
        return decode(cls, document, where=where, code="catalog_malformed")

    @classmethod
    def from_json(cls, text: str, where: str = "catalog") -> Catalog:
        """As :meth:`from_dict`, from JSON text."""
        try:
            document = json.loads(text)
        except ValueError as problem:
            raise HotpatchError("catalog_malformed", message=f"Not valid JSON: {problem}.", where=where) from problem
        return cls.from_dict(document, where)

    def as_dict(self) -> dict[str, t.Any]:
        """The JSON shape of docs/decision.md."""
        return t.cast("dict[str, t.Any]", encode(self))

    def to_json(self) -> str:
        """Stable text: the same catalog is the same bytes; one CVE or package a line, so that a diff can be read."""
        return _to_lines(self.as_dict()) + "\n"

    def months(self, product: str, until: datetime.date | None = None) -> list[tuple[Month, ProductMonth]]:
        """The product's months in order, those with something to install, released on or before ``until``."""
        months = sorted(self.products.get(product, {}).items())
        return [(month, entry) for month, entry in months if entry.is_released and (until is None or entry.released <= until)]

    def find(self, product: str, kb: str) -> tuple[Month, Update] | None:
        """The month and entry of a package among the product's own updates."""
        for month, entry in self.months(product):
            for update in entry.updates:
                if update.kb == kb:
                    return month, update
        return None


def _to_lines(document: object, depth: int = 0) -> str:
    """JSON with two spaces of indentation, but a container of plain values (and lists of them) on one line."""
    if not isinstance(document, dict | list) or _is_flat(document):
        return json.dumps(document)
    pad, end = "  " * (depth + 1), "  " * depth
    if isinstance(document, dict):
        rows = [f"{pad}{json.dumps(key)}: {_to_lines(value, depth + 1)}" for key, value in document.items()]
        return "{\n" + ",\n".join(rows) + f"\n{end}}}"
    return "[\n" + ",\n".join(f"{pad}{_to_lines(value, depth + 1)}" for value in document) + f"\n{end}]"


def _is_flat(container: dict[str, object] | list[object]) -> bool:
    items = container.values() if isinstance(container, dict) else container
    return all(not isinstance(item, dict) and not (isinstance(item, list) and not _is_plain_list(item)) for item in items)


def _is_plain_list(items: list[object]) -> bool:
    return not any(isinstance(item, dict | list) for item in items)


def merge(catalogs: Iterable[Catalog]) -> Catalog:
    """One catalog of several; later ones win.

    Two documents of one month are revisions of it: the CVEs come from the newer revision. A package that an earlier month holds as
    its own does not become a later month's, although documents of later months list it as a remedy again.
    """
    products: dict[str, dict[Month, ProductMonth]] = {}
    packages: dict[str, Package] = {}
    fixes: dict[str, Fix] = {}
    sources: dict[tuple[str, str], Source] = {}
    dates: list[datetime.date] = []
    for catalog in catalogs:
        for product, months in catalog.products.items():
            known = products.setdefault(product, {})
            for month, entry in months.items():
                known[month] = _merge_month(known[month], entry) if month in known else entry
        packages.update(catalog.packages)
        fixes.update({fix.id: fix for fix in catalog.fixes})
        sources.update({(source.kind, source.name): source for source in catalog.sources})
        dates.extend([catalog.date] if catalog.date else [])
    return Catalog(
        date=max(dates, default=None),
        sources=tuple(sources[key] for key in sorted(sources)),
        products={product: _without_repeats(products[product]) for product in sorted(products)},
        packages=dict(sorted(packages.items())),
        fixes=tuple(fixes[name] for name in sorted(fixes)),
    )


def _merge_month(old: ProductMonth, new: ProductMonth) -> ProductMonth:
    older = new.cves_known and old.cves_known and (new.revised or datetime.date.min) < (old.revised or datetime.date.min)
    low, high = (new, old) if older else (old, new)
    facts = high if high.cves_known or not low.cves_known else low
    updates = _merge_updates(low.updates, high.updates)
    own = {update.kb for update in updates}
    return ProductMonth(
        released=high.released,
        updates=updates,
        cves_known=facts.cves_known,
        revised=facts.revised,
        related=tuple(update for update in _merge_updates(low.related, high.related) if update.kb not in own),
        vulnerabilities=facts.vulnerabilities,
        notes=tuple(dict.fromkeys((*low.notes, *high.notes))),
    )


def _merge_updates(low: tuple[Update, ...], high: tuple[Update, ...]) -> tuple[Update, ...]:
    merged = {update.kb: update for update in low}
    for update in high:
        known = merged.get(update.kb)
        merged[update.kb] = update if known is None else _merge_update(known, update)
    # A month has one cumulative update: what the newer source calls so.
    lcus = [update.kb for update in high if update.kind is UpdateKind.LCU]
    kept = [update for update in merged.values() if not lcus or update.kind is not UpdateKind.LCU or update.kb in lcus]
    return tuple(sorted(kept, key=lambda update: (_ORDER[update.kind], update.kb)))


_ORDER: t.Final = {kind: index for index, kind in enumerate(UpdateKind)}


def _merge_update(low: Update, high: Update) -> Update:
    return Update(
        kb=high.kb,
        kind=high.kind,
        build=high.build or low.build,
        supersedes=high.supersedes or low.supersedes,
        keeps_track=low.keeps_track if high.keeps_track is None else high.keeps_track,
    )


def _without_repeats(months: Mapping[Month, ProductMonth]) -> dict[Month, ProductMonth]:
    """Move packages that an earlier month owns to ``related`` of the later months that name them."""
    owned: set[str] = set()
    result: dict[Month, ProductMonth] = {}
    for month in sorted(months):
        entry = months[month]
        repeated = tuple(update for update in entry.updates if update.kb in owned)
        if repeated:
            entry = dataclasses.replace(
                entry,
                updates=tuple(update for update in entry.updates if update.kb not in owned),
                related=_merge_updates(repeated, entry.related),
            )
        owned.update(update.kb for update in entry.updates)
        result[month] = entry
    return result
