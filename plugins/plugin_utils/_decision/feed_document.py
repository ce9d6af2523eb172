# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What does a CVRF document say, as plain data? XML and JSON forms of Microsoft's feed end up in the same shape.

Only what the decision needs is kept, and nothing is interpreted here: values stay as they are written, dirt included.
"""

from __future__ import annotations

import datetime
import json
import re
import typing as t
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .._errors import HotpatchError

_VULN: t.Final = "{http://www.icasi.org/CVRF/schema/vuln/1.1}"
_PROD: t.Final = "{http://www.icasi.org/CVRF/schema/prod/1.1}"
_CVRF: t.Final = "{http://www.icasi.org/CVRF/schema/cvrf/1.1}"

# The JSON form numbers what the XML form names.
_JSON_THREATS: t.Final = {0: "Impact", 1: "Exploit Status", 3: "Severity"}
_JSON_VENDOR_FIX: t.Final = 2


@dataclass(frozen=True)
class Remedy:
    """A remediation of type Vendor Fix; ``kb`` is its description as written, ``build`` its FixedBuild as written."""

    kb: str
    subtype: str
    build: str
    supersedes: str
    products: frozenset[str]


@dataclass(frozen=True)
class Threat:
    """``kind`` is Impact, Severity or Exploit Status; no products means all of them."""

    kind: str
    text: str
    products: frozenset[str]


@dataclass(frozen=True)
class Score:
    """A CVSS base score."""

    base: float
    products: frozenset[str]


@dataclass(frozen=True)
class FeedVulnerability:
    """One CVE with everything said about it."""

    cve: str
    title: str
    remedies: tuple[Remedy, ...]
    threats: tuple[Threat, ...]
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class FeedDocument:
    """One month's document. ``id`` is like ``2026-May``; ``products`` maps product ids to names."""

    id: str
    released: datetime.date
    revised: datetime.date
    products: Mapping[str, str]
    vulnerabilities: tuple[FeedVulnerability, ...]


def parse_feed(data: bytes, where: str) -> FeedDocument:
    """Read a CVRF 1.1 document in its XML or JSON form; raises HotpatchError ``catalog_malformed``."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise _malformed(f"Not UTF-8 text: {problem}.", where) from problem
    return _parse_json(text, where) if text.lstrip().startswith("{") else _parse_xml(text, where)


def _malformed(what: str, where: str) -> HotpatchError:
    return HotpatchError("catalog_malformed", message=what, where=where)


# -- XML ---------------------------------------------------------------------------------------------------------------------


def _parse_xml(text: str, where: str) -> FeedDocument:
    # Entities, the way to make XML expand or read files, can only be declared in a document type declaration. CVRF has none.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise _malformed("The document declares a document type or entities; a CVRF document has neither.", where)
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as problem:
        raise _malformed(f"Not well-formed XML: {problem}.", where) from problem
    if root.tag != f"{_CVRF}cvrfdoc":
        raise _malformed(f"The root element is {root.tag}, not a CVRF 1.1 document.", where)
    tracking = f"{_CVRF}DocumentTracking/{_CVRF}"
    return FeedDocument(
        id=_text(root, f"{tracking}Identification/{_CVRF}ID"),
        released=_day(_text(root, f"{tracking}InitialReleaseDate"), where),
        revised=_day(_text(root, f"{tracking}CurrentReleaseDate"), where),
        products={node.get("ProductID", ""): (node.text or "").strip() for node in root.iter(f"{_PROD}FullProductName")},
        vulnerabilities=tuple(_xml_vulnerability(node) for node in root.iter(f"{_VULN}Vulnerability")),
    )


def _xml_vulnerability(node: ElementTree.Element) -> FeedVulnerability:
    remedies = node.iterfind(f"{_VULN}Remediations/{_VULN}Remediation[@Type='Vendor Fix']")
    threats = node.iterfind(f"{_VULN}Threats/{_VULN}Threat")
    scores = node.iterfind(f"{_VULN}CVSSScoreSets/{_VULN}ScoreSet")
    return FeedVulnerability(
        cve=_text(node, f"{_VULN}CVE"),
        title=_text(node, f"{_VULN}Title"),
        remedies=tuple(
            Remedy(
                kb=_text(remedy, f"{_VULN}Description"),
                subtype=_text(remedy, f"{_VULN}SubType"),
                build=_text(remedy, f"{_VULN}FixedBuild"),
                supersedes=_text(remedy, f"{_VULN}Supercedence"),
                products=_xml_products(remedy),
            )
            for remedy in remedies
        ),
        threats=tuple(Threat(threat.get("Type", ""), _text(threat, f"{_VULN}Description"), _xml_products(threat)) for threat in threats),
        scores=tuple(_scores((_text(score, f"{_VULN}BaseScore"), _xml_products(score)) for score in scores)),
    )


def _text(node: ElementTree.Element, path: str) -> str:
    return (node.findtext(path) or "").strip()


def _xml_products(node: ElementTree.Element) -> frozenset[str]:
    return frozenset((product.text or "").strip() for product in node.iterfind(f"{_VULN}ProductID"))


# -- JSON --------------------------------------------------------------------------------------------------------------------


def _parse_json(text: str, where: str) -> FeedDocument:
    try:
        root = _Node(json.loads(text))
    except ValueError as problem:
        raise _malformed(f"Not valid JSON: {problem}.", where) from problem
    tracking = root.child("DocumentTracking")
    if not tracking.value or not isinstance(root.child("Vulnerability").value, list):
        raise _malformed("The JSON document is not the CVRF form: DocumentTracking or Vulnerability is missing.", where)
    return FeedDocument(
        id=tracking.child("Identification").child("ID").text(),
        released=_day(tracking.child("InitialReleaseDate").text(), where),
        revised=_day(tracking.child("CurrentReleaseDate").text(), where),
        products={node.child("ProductID").text(): node.text() for node in root.child("ProductTree").children("FullProductName")},
        vulnerabilities=tuple(_json_vulnerability(node) for node in root.children("Vulnerability")),
    )


def _json_vulnerability(node: _Node) -> FeedVulnerability:
    return FeedVulnerability(
        cve=node.child("CVE").text(),
        title=node.child("Title").text(),
        remedies=tuple(
            Remedy(
                kb=remedy.child("Description").text(),
                subtype=remedy.child("SubType").text(),
                build=remedy.child("FixedBuild").text(),
                supersedes=remedy.child("Supercedence").text(),
                products=remedy.products(),
            )
            for remedy in node.children("Remediations")
            if remedy.child("Type").value == _JSON_VENDOR_FIX
        ),
        threats=tuple(
            Threat(_JSON_THREATS.get(t.cast(int, threat.child("Type").value), ""), threat.child("Description").text(), threat.products())
            for threat in node.children("Threats")
        ),
        scores=tuple(_scores((score.child("BaseScore").text(), score.products()) for score in node.children("CVSSScoreSets"))),
    )


@dataclass(frozen=True)
class _Node:
    """A JSON value whose members may be missing; texts are plain or wrapped as ``{"Value": …}``."""

    value: object

    def child(self, key: str) -> _Node:
        return _Node(self.value.get(key) if isinstance(self.value, dict) else None)

    def children(self, key: str) -> Iterator[_Node]:
        items = self.child(key).value
        yield from (_Node(item) for item in (items if isinstance(items, list) else []))

    def text(self) -> str:
        value = self.value.get("Value") if isinstance(self.value, dict) else self.value
        return str(value).strip() if isinstance(value, str | int | float) else ""

    def products(self) -> frozenset[str]:
        return frozenset(node.text() for node in self.children("ProductID"))


# -- both --------------------------------------------------------------------------------------------------------------------


def _day(text: str, where: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text[:10])
    except ValueError as problem:
        raise _malformed(f"{text!r} is not a release date.", where) from problem


def _scores(raw: Iterable[tuple[str, frozenset[str]]]) -> Iterator[Score]:
    for base, products in raw:
        if re.fullmatch(r"[0-9]{1,2}(\.[0-9]+)?", base):
            yield Score(float(base), products)
