# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Which packages and CVEs does one month's feed document hold for a product?

The feed is dirty, and each kind of dirt has its place here:

* sub-types are spelled in several ways (:func:`_is_hotpatch`);
* builds have doubled dots or another product's number (:func:`_read_build`);
* documents list packages of other months again (:func:`_classify`), so that neither "is named" nor "has the highest build" says what
  the month's package is;
* a KB number can stand in the sub-type of a remedy that is only a link (:func:`_kb_of` looks at the description alone);
* Core installations are product ids of their own (:func:`_product_ids` goes by name);
* ``RestartRequired`` says Yes for hotpatches and is not read at all;
* before Patch Tuesday a document holds nothing for Windows Server (:func:`read_month` gives None).
"""

from __future__ import annotations

import collections
import re
import typing as t
from collections.abc import Iterable
from dataclasses import dataclass, field

from .._errors import HotpatchError
from .catalog import Catalog, ProductMonth, Source, Update, Vulnerability
from .feed_document import FeedDocument, FeedVulnerability, Remedy
from .model import PRODUCTS, Build, Month, Product, UpdateKind

_MONTHS: t.Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SEVERITIES: t.Final = ("Low", "Moderate", "Important", "Critical")


def read_catalog(document: FeedDocument, products: Iterable[str]) -> Catalog:
    """The month of a document for the products it concerns; raises HotpatchError ``catalog_malformed``."""
    month = _month_of(document)
    months = {key: read_month(document, PRODUCTS[key]) for key in products}
    return Catalog(
        date=document.revised,
        sources=(Source("feed", document.id, document.revised),),
        products={key: {month: entry} for key, entry in months.items() if entry is not None},
    )


def feed_name(month: Month) -> str:
    """A month as the feed writes it: ``2026-May``."""
    return f"{month.year}-{_MONTHS[month.month - 1]}"


def _month_of(document: FeedDocument) -> Month:
    found = re.fullmatch(r"(20[0-9]{2})-([A-Z][a-z]{2})", document.id)
    if found is None or found[2] not in _MONTHS:
        raise HotpatchError("catalog_malformed", message=f"The document's id {document.id!r} is not a month like 2026-May.")
    return Month(int(found[1]), _MONTHS.index(found[2]) + 1)


def read_month(document: FeedDocument, product: Product) -> ProductMonth | None:
    """What a document brings for one product; None when it brings no package of the month."""
    ids = _product_ids(document, product)
    packages = _collect(document, product, ids)
    classified = _classify(packages)
    updates = tuple(update for update, own in classified if own)
    if not updates:
        return None
    return ProductMonth(
        released=document.released,
        updates=updates,
        cves_known=True,
        revised=document.revised,
        related=tuple(update for update, own in classified if not own),
        vulnerabilities=tuple(_vulnerabilities(document, ids, packages)),
        notes=tuple(sorted({note for package in packages.values() for note in package.notes})),
    )


def _product_ids(document: FeedDocument, product: Product) -> frozenset[str]:
    core = f"{product.feed_name} (Server Core installation)"
    return frozenset(key for key, name in document.products.items() if name in (product.feed_name, core))


# -- packages ----------------------------------------------------------------------------------------------------------------


@dataclass
class _Package:
    """What all remedies of one KB say together."""

    kb: str
    hotpatch: bool = False
    builds: collections.Counter[Build] = field(default_factory=collections.Counter)
    foreign: bool = False
    cves: set[str] = field(default_factory=set)
    supersedes: set[str] = field(default_factory=set)
    notes: set[str] = field(default_factory=set)

    @property
    def build(self) -> Build | None:
        """The build most remedies say; of equally many the higher one."""
        return max(self.builds, key=lambda build: (self.builds[build], build), default=None)


def _collect(document: FeedDocument, product: Product, ids: frozenset[str]) -> dict[str, _Package]:
    packages: dict[str, _Package] = {}
    for vulnerability in document.vulnerabilities:
        for remedy, kb in _remedies(vulnerability, ids):
            package = packages.setdefault(kb, _Package(kb))
            package.cves.add(vulnerability.cve)
            package.hotpatch |= _is_hotpatch(remedy.subtype)
            package.supersedes.update(f"KB{number}" for number in re.findall(r"\b[0-9]{6,7}\b", remedy.supersedes))
            _read_build(remedy.build, product, package)
    return packages


def _remedies(vulnerability: FeedVulnerability, ids: frozenset[str]) -> Iterable[tuple[Remedy, str]]:
    for remedy in vulnerability.remedies:
        kb = _kb_of(remedy.kb)
        if kb is not None and remedy.products & ids:
            yield remedy, kb


def _kb_of(description: str) -> str | None:
    found = re.fullmatch(r"(?:KB)?([0-9]{6,7})", description)
    return f"KB{found[1]}" if found else None


def _is_hotpatch(subtype: str) -> bool:
    return re.sub(r"\s+", "", subtype).lower() == "securityhotpatchupdate"


def _read_build(text: str, product: Product, package: _Package) -> None:
    # 2024-Oct holds "10.0.20348..2762".
    found = re.fullmatch(r"(?:10\.0\.)?([0-9]{4,6})\.+([0-9]{1,6})", text)
    if found is None:
        if text:
            package.notes.add(f"{package.kb}: FixedBuild {text!r} cannot be read")
        return
    build = Build(int(found[1]), int(found[2]))
    if build.number == product.build:
        package.builds[build] += 1
    elif build.number in product.sibling_builds:
        # 2025-Jul writes 10.0.26200 in rows of build 26100; the revision is that of the family.
        package.builds[Build(product.build, build.ubr)] += 1
        package.notes.add(f"{package.kb}: FixedBuild {text!r} read as {product.build}.{build.ubr}")
    else:
        package.foreign = True
        package.notes.add(f"{package.kb}: FixedBuild {text!r} is of another product")


def _classify(packages: dict[str, _Package]) -> list[tuple[Update, bool]]:
    """Every package as an update, and whether it is of this month.

    The month's LCU is the package that fixes most of the document's CVEs: packages of earlier months that are listed again fix a few.
    A hotpatch is of this month when the LCU fixes one of the same CVEs and is the nearest cumulative build above it, since a
    hotpatch stands just below the LCU of its own month (2024-Aug lists June's hotpatch beside June's LCU).
    """
    cumulative = [package for package in packages.values() if not package.hotpatch and package.build is not None]
    lcu = max(cumulative, key=lambda package: (len(package.cves), package.build, package.kb), default=None)
    hotpatches = {
        package.kb for package in packages.values() if package.hotpatch and lcu is not None and _belongs(package, lcu, cumulative)
    }
    builds = {packages[kb].build for kb in hotpatches}
    result = []
    for package in packages.values():
        kind, own = _kind(package, lcu, package.kb in hotpatches, builds)
        result.append((Update(package.kb, kind, package.build, tuple(sorted(package.supersedes))), own))
    order = list(UpdateKind)
    return sorted(result, key=lambda item: (order.index(item[0].kind), item[0].kb))


def _belongs(hotpatch: _Package, lcu: _Package, cumulative: list[_Package]) -> bool:
    if hotpatch.build is None or lcu.build is None or not hotpatch.cves & lcu.cves:
        return False
    above = [package.build for package in cumulative if package.build is not None and package.build > hotpatch.build]
    return min(above, default=None) == lcu.build


def _kind(package: _Package, lcu: _Package | None, is_own_hotpatch: bool, hotpatch_builds: set[Build | None]) -> tuple[UpdateKind, bool]:
    if package.hotpatch:
        return UpdateKind.HOTPATCH, is_own_hotpatch
    if package is lcu:
        return UpdateKind.LCU, True
    if package.build is None or lcu is None or lcu.build is None:
        return UpdateKind.OTHER, False
    if package.build in hotpatch_builds:
        # 2025-Dec: KB5074204 has the hotpatch's build and closes what the hotpatch does not.
        return UpdateKind.COMPANION, True
    if package.build > lcu.build:
        return UpdateKind.OUT_OF_BAND, True
    return UpdateKind.LCU, False


# -- vulnerabilities ---------------------------------------------------------------------------------------------------------


def _vulnerabilities(document: FeedDocument, ids: frozenset[str], packages: dict[str, _Package]) -> Iterable[Vulnerability]:
    for vulnerability in sorted(document.vulnerabilities, key=lambda entry: entry.cve):
        remedies = sorted({kb for _remedy, kb in _remedies(vulnerability, ids) if not packages[kb].foreign})
        if remedies and re.fullmatch(r"CVE-[0-9]{4}-[0-9]{4,}", vulnerability.cve):
            yield Vulnerability(
                cve=vulnerability.cve,
                title=vulnerability.title,
                severity=_severity(vulnerability, ids),
                cvss=_cvss(vulnerability, ids),
                exploited=_exploited(vulnerability, ids),
                fixed_by=tuple(remedies),
            )


def _severity(vulnerability: FeedVulnerability, ids: frozenset[str]) -> str | None:
    """The worst severity for the product: rows of Desktop and Core can differ."""
    named = [threat for threat in vulnerability.threats if threat.kind == "Severity" and threat.text in _SEVERITIES]
    texts = {threat.text for threat in named if threat.products & ids} or {threat.text for threat in named}
    return max(texts, key=_SEVERITIES.index, default=None)


def _cvss(vulnerability: FeedVulnerability, ids: frozenset[str]) -> float | None:
    scores = [score.base for score in vulnerability.scores if score.products & ids]
    return max(scores or [score.base for score in vulnerability.scores], default=None)


def _exploited(vulnerability: FeedVulnerability, ids: frozenset[str]) -> bool:
    return any(
        threat.kind == "Exploit Status"
        and re.search(r"\bExploited:\s*Yes\b", threat.text) is not None
        and (not threat.products or bool(threat.products & ids))
        for threat in vulnerability.threats
    )
