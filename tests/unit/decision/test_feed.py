# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does the feed become the right months, however dirty it is?"""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
from unit.decision.samples import FIXTURES, made_up, real_feed

from ansible_collections.hotpatch.windows.plugins.plugin_utils import _catalog_files
from ansible_collections.hotpatch.windows.plugins.plugin_utils._catalog_files import read_feed, read_feed_file
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import Catalog, Month, ProductMonth, Vulnerability, merge
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

MAY = Month(2030, 5)


@pytest.fixture(scope="module")
def may() -> ProductMonth:
    """May of the fixtures, read alone."""
    return read_feed_file(FIXTURES / "2030-May.xml").products["windows_server_2025"][MAY]


def packages(month: ProductMonth) -> dict[str, tuple[str, str]]:
    """KB to kind and build of a month's own packages."""
    return {update.kb: (update.kind.value, str(update.build)) for update in month.updates}


def cve(month: ProductMonth, name: str) -> Vulnerability:
    """One CVE of a month."""
    return next(row for row in month.vulnerabilities if row.cve == name)


def test_the_month_has_its_own_packages_and_no_others(may: ProductMonth) -> None:
    assert packages(may) == {
        "KB9000501": ("lcu", "26100.50200"),
        "KB9000502": ("hotpatch", "26100.50100"),
        "KB9000503": ("hotpatch", "26100.50110"),
        "KB9000504": ("companion", "26100.50100"),
        "KB9000505": ("out_of_band", "26100.50210"),
    }


def test_packages_of_other_months_and_products_are_only_related(may: ProductMonth) -> None:
    related = {update.kb: (update.kind.value, str(update.build)) for update in may.related}
    assert related == {
        "KB9000301": ("lcu", "26100.49200"),
        "KB9000302": ("hotpatch", "26100.49100"),
        "KB9000401": ("lcu", "26100.50000"),
        "KB9000506": ("other", "None"),
    }


def test_both_spellings_of_the_hotpatch_sub_type_count(may: ProductMonth) -> None:
    assert cve(may, "CVE-2030-10001").fixed_by == ("KB9000501", "KB9000502")
    assert cve(may, "CVE-2030-10003").fixed_by == ("KB9000501", "KB9000502")


def test_a_build_with_two_dots_or_a_sibling_major_is_read_and_noted(may: ProductMonth) -> None:
    assert packages(may)["KB9000501"][1] == "26100.50200"
    assert packages(may)["KB9000503"][1] == "26100.50110"
    assert "KB9000503: FixedBuild '10.0.26200.50110' read as 26100.50110" in may.notes


def test_a_build_of_another_windows_is_no_level_and_fixes_nothing_here(may: ProductMonth) -> None:
    assert "KB9000506: FixedBuild '10.0.22000.2710' is of another product" in may.notes
    assert "CVE-2030-10010" not in {row.cve for row in may.vulnerabilities}


def test_remedies_without_a_kb_and_other_products_are_left_out(may: ProductMonth) -> None:
    assert {row.cve for row in may.vulnerabilities} == {f"CVE-2030-{number}" for number in range(10001, 10010)}


def test_the_worst_of_desktop_and_core_counts(may: ProductMonth) -> None:
    row = cve(may, "CVE-2030-10001")
    assert (row.severity, row.cvss) == ("Critical", 8.1)


def test_exploited_is_read_from_the_status_and_disclosure_is_not_exploitation(may: ProductMonth) -> None:
    assert [row.cve for row in may.vulnerabilities if row.exploited] == ["CVE-2030-10003"]


def test_a_month_without_a_hotpatch_is_a_baseline_for_each_product() -> None:
    catalog = read_feed_file(FIXTURES / "2030-Apr.xml")
    for product in ("windows_server_2025", "windows_server_2022"):
        assert catalog.products[product][Month(2030, 4)].is_baseline


def test_a_document_before_patch_tuesday_brings_no_month() -> None:
    assert read_feed_file(FIXTURES / "2030-Jun-before.xml").products == {}


def test_the_json_form_gives_the_same_catalog_as_the_xml_form() -> None:
    assert read_feed_file(FIXTURES / "2030-May.json") == read_feed_file(FIXTURES / "2030-May.xml")


def test_xz_compressed_documents_are_read() -> None:
    packed = lzma.compress((FIXTURES / "2030-May.xml").read_bytes())
    assert read_feed(packed, where="packed") == read_feed_file(FIXTURES / "2030-May.xml")


def test_a_late_document_of_one_old_package_does_not_make_that_package_the_months() -> None:
    # A document that lists nothing but April's update for the product, as June's does before its own packages are added.
    text = (FIXTURES / "2030-Apr.xml").read_text().replace("2030-Apr<", "2030-Jun<").replace("2030-04-09", "2030-06-11")
    catalog = merge([made_up(), read_feed(text.encode(), where="June")])
    june = catalog.products["windows_server_2025"][Month(2030, 6)]
    assert not june.is_released
    assert [update.kb for update in june.related] == ["KB9000401"]
    assert [str(month) for month, _entry in catalog.months("windows_server_2025")] == ["2030-04", "2030-05"]


def test_the_newer_revision_wins_whatever_the_order() -> None:
    text = (FIXTURES / "2030-May.xml").read_text()
    old = read_feed(text.replace("2030-05-30", "2030-05-14").replace(">9.8<", ">9.0<").encode(), where="old")
    new = read_feed(text.encode(), where="new")
    for order in ([old, new], [new, old]):
        month = merge(order).products["windows_server_2025"][MAY]
        assert cve(month, "CVE-2030-10002").cvss == 9.8


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ((FIXTURES / "entities.xml").read_bytes(), "entities"),
        ((FIXTURES / "2030-May.xml").read_bytes()[:-200], "well-formed"),
        (b"<html></html>", "CVRF"),
        (b'{"value": []}', "CVRF"),
        (b'{"DocumentTracking": ', "JSON"),
        (b"\xff\xfe<\x00", "UTF-8"),
        (lzma.compress(b"<a/>")[:-5], "xz"),
        ((FIXTURES / "2030-May.xml").read_bytes().replace(b"2030-May<", b"2030-05<"), "not a month"),
        ((FIXTURES / "2030-May.xml").read_bytes().replace(b"2030-05-14T", b"soon T"), "release date"),
    ],
)
def test_what_is_no_feed_document_is_refused_with_its_reason(data: bytes, words: str) -> None:
    with pytest.raises(HotpatchError, match=words) as caught:
        read_feed(data, where="somewhere")
    assert caught.value.code == "catalog_malformed"


def test_a_document_that_unpacks_to_more_than_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_catalog_files, "MAX_DOCUMENT", 1000)
    with pytest.raises(HotpatchError, match="larger"):
        read_feed(lzma.compress(b"<a>" + b" " * 2000 + b"</a>"), where="somewhere")


# Measured with other means from the same documents: the month's packages, the CVEs of each, and what only the cumulative update fixes.
MEASURED = [
    ("2024-08", "windows_server_2022", "KB5041160 20348.2655", None, 52, None, 52),
    ("2024-12", "windows_server_2025", "KB5048667 26100.2605", "KB5048794 26100.2528", 57, 57, []),
    ("2025-11", "windows_server_2025", "KB5068861 26100.7171", "KB5068966 26100.7092", 30, 30, []),
    ("2025-12", "windows_server_2025", "KB5072033 26100.7462", "KB5072014 26100.7392", 33, 32, ["CVE-2025-54100"]),
    ("2026-01", "windows_server_2025", "KB5073379 26100.32230", None, 85, None, 85),
    ("2026-02", "windows_server_2025", "KB5075899 26100.32370", "KB5075942 26100.32313", 29, 29, []),
    ("2026-03", "windows_server_2025", "KB5078740 26100.32522", "KB5078736 26100.32463", 39, 39, []),
    ("2026-05", "windows_server_2025", "KB5087539 26100.32860", "KB5087423 26100.32772", 65, 64, ["CVE-2026-21530"]),
    (
        "2026-05",
        "windows_server_2022",
        "KB5087545 20348.5139",
        "KB5087424 20348.5074",
        58,
        53,
        ["CVE-2025-54518", "CVE-2026-21530", "CVE-2026-32161", "CVE-2026-32170", "CVE-2026-42825"],
    ),
]


@pytest.fixture(scope="module")
def real() -> Catalog:
    """The catalog of the real documents, nothing else."""
    return merge(read_feed_file(path) for path in real_feed())


@pytest.mark.parametrize(("month", "product", "lcu", "hotpatch", "in_lcu", "in_hotpatch", "left_open"), MEASURED)
def test_the_real_feed_gives_what_was_measured(
    real: Catalog,
    month: str,
    product: str,
    lcu: str,
    hotpatch: str | None,
    in_lcu: int,
    in_hotpatch: int | None,
    left_open: list[str] | int,
) -> None:
    entry = real.products[product][Month.parse(month)]
    assert entry.lcu is not None
    assert f"{entry.lcu.kb} {entry.lcu.build}" == lcu
    fixed = [row for row in entry.vulnerabilities if entry.lcu.kb in row.fixed_by]
    assert len(fixed) == in_lcu
    if hotpatch is None:
        assert entry.is_baseline
        assert len(fixed) == left_open
        return
    assert entry.hotpatch is not None
    assert f"{entry.hotpatch.kb} {entry.hotpatch.build}" == hotpatch
    both = [row for row in fixed if entry.hotpatch.kb in row.fixed_by]
    assert len(both) == in_hotpatch
    assert [row.cve for row in fixed if row not in both] == left_open


def test_the_real_december_of_2025_names_the_package_beside_the_hotpatch(real: Catalog) -> None:
    entry = real.products["windows_server_2025"][Month(2025, 12)]
    assert [(update.kb, str(update.build)) for update in entry.companions] == [("KB5074204", "26100.7392")]
    assert cve(entry, "CVE-2025-54100").fixed_by == ("KB5072033", "KB5074204")


def test_the_real_november_of_2025_keeps_octobers_update_apart(real: Catalog) -> None:
    entry = real.products["windows_server_2025"][Month(2025, 11)]
    old = [row.cve for row in entry.vulnerabilities if row.fixed_by == ("KB5066835",)]
    assert old == ["CVE-2025-62208", "CVE-2025-62209"]
    assert [update.kb for update in entry.related] == ["KB5066835"]


def test_the_real_critical_hole_of_may_2026_is_known_as_critical(real: Catalog) -> None:
    row = cve(real.products["windows_server_2022"][Month(2026, 5)], "CVE-2026-32161")
    assert (row.severity, row.fixed_by) == ("Critical", ("KB5087545",))


def test_the_shipped_snapshot_holds_what_the_real_feed_says(real: Catalog) -> None:
    shipped = _catalog_files.shipped_catalog()
    for product, months in real.products.items():
        for month, entry in months.items():
            known = shipped.products[product][month]
            assert known.vulnerabilities == entry.vulnerabilities, (product, month)
            assert {update.kb for update in entry.updates} <= {update.kb for update in known.updates}, (product, month)


def test_the_shipped_snapshot_is_what_its_script_makes(tmp_path: Path) -> None:
    script = Path(__file__).parents[3] / "tools" / "snapshot" / "calendar.yml"
    feeds = sorted((read_feed_file(path) for path in real_feed()), key=lambda catalog: str(catalog.date))
    made = tmp_path / "snapshot.json"
    _catalog_files.write_catalog(made, merge([_catalog_files.load_catalog(script), *feeds]).to_json())
    assert made.read_bytes() == _catalog_files.SNAPSHOT.read_bytes()
