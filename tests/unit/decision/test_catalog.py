# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Is a catalog read strictly, written stably and merged rightly?"""

from __future__ import annotations

import datetime
import json
import typing as t
from pathlib import Path

import pytest
from unit.decision.samples import fix, made_up, own_list

from ansible_collections.hotpatch.windows.plugins.plugin_utils._catalog_files import load_catalog, shipped_catalog, write_catalog
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import PRODUCTS, Catalog, Month, merge
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.calendar import MonthKind, newest_due, patch_tuesday, planned_kind
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.summary import outline, summarize_months
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

# The published calendar: product, month, kind (B baseline, H hotpatch), KB, revision.
CALENDAR = """
2025 2024-11 H KB5046696 2240
2025 2024-12 H KB5048794 2528
2025 2025-01 B KB5050009 2894
2025 2025-02 H KB5052105 3107
2025 2025-03 H KB5053636 3403
2025 2025-04 B KB5055523 3775
2025 2025-05 H KB5058497 3981
2025 2025-06 H KB5060841 4270
2025 2025-07 B KB5062553 4652
2025 2025-08 H KB5064010 4851
2025 2025-09 H KB5065474 6508
2025 2025-10 B KB5066835 6899
2025 2025-11 H KB5068966 7092
2025 2025-12 H KB5072014 7392
2025 2026-01 B KB5073379 32230
2025 2026-02 H KB5075942 32313
2025 2026-03 H KB5078736 32463
2025 2026-04 B KB5082063 32690
2025 2026-05 H KB5087423 32772
2022 2024-01 B KB5034129 2227
2022 2024-02 H KB5034860 2277
2022 2024-03 H KB5035959 2333
2022 2024-04 B KB5036909 2402
2022 2024-05 H KB5037848 2458
2022 2024-06 H KB5039330 2522
2022 2024-07 B KB5040437 2582
2022 2024-08 B KB5041160 2655
2022 2024-09 H KB5042880 2695
2022 2024-10 B KB5044281 2762
2022 2024-11 H KB5046698 2819
2022 2024-12 H KB5048800 2908
2022 2025-01 B KB5049983 3091
2022 2025-02 H KB5052106 3148
2022 2025-03 H KB5053638 3270
2022 2025-04 B KB5055526 3453
2022 2025-05 H KB5058500 3630
2022 2025-06 H KB5060525 3745
2022 2025-07 B KB5062572 3932
2022 2025-08 H KB5063812 3989
2022 2025-09 H KB5065306 4106
2022 2025-10 B KB5066782 4294
2022 2025-11 H KB5068840 4346
2022 2025-12 H KB5071413 4467
2022 2026-01 B KB5073457 4648
2022 2026-02 H KB5075943 4711
2022 2026-03 H KB5078737 4830
2022 2026-04 B KB5082142 5020
2022 2026-05 H KB5087424 5074
"""


@pytest.mark.parametrize("row", CALENDAR.strip().splitlines())
def test_the_snapshot_holds_every_row_of_the_published_calendar(row: str) -> None:
    year, month, kind, kb, ubr = row.split()
    product = PRODUCTS[f"windows_server_{year}"]
    entry = shipped_catalog().products[product.key][Month.parse(month)]
    assert entry.is_baseline == (kind == "B")
    found = next(update for update in entry.updates if update.kb == kb)
    assert str(found.build) == f"{product.build}.{ubr}"
    assert found.kind.value == ("lcu" if kind == "B" else "hotpatch")


def test_the_snapshot_knows_the_packages_outside_of_the_calendar() -> None:
    server = shipped_catalog().products["windows_server_2025"]
    october = {update.kb: update.keeps_track for update in server[Month(2025, 10)].updates}
    assert october == {"KB5066835": None, "KB5070881": False, "KB5070893": True}
    assert {update.kb for update in server[Month(2025, 5)].updates} >= {"KB5058497", "KB5061258", "KB5061096"}
    assert {update.kb for update in server[Month(2026, 4)].updates} == {"KB5082063", "KB5091157"}


def test_patch_tuesday_and_the_plan_are_as_published() -> None:
    days = {Month(2025, 1): 14, Month(2025, 4): 8, Month(2025, 7): 8, Month(2025, 10): 14, Month(2026, 1): 13, Month(2026, 4): 14}
    assert {month: patch_tuesday(month).day for month in days} == days
    assert [month for month in range(1, 13) if planned_kind(Month(2027, month)) is MonthKind.BASELINE] == [1, 4, 7, 10]


@pytest.mark.parametrize(
    ("day", "grace", "month"),
    [("2026-05-12", 0, "2026-04"), ("2026-05-13", 0, "2026-05"), ("2026-05-14", 2, "2026-04"), ("2026-05-15", 2, "2026-05")],
)
def test_a_month_is_due_after_its_patch_tuesday_and_the_grace(day: str, grace: int, month: str) -> None:
    assert str(newest_due(datetime.date.fromisoformat(day), grace)) == month


def test_a_catalog_survives_writing_and_reading(tmp_path: Path) -> None:
    catalog = merge([made_up(), own_list(fixes=[fix()], packages={"KB9000501": {"url": "http://127.0.0.1/x.msu", "sha256": "ab" * 32}})])
    write_catalog(tmp_path / "catalog.json", catalog.to_json())
    assert load_catalog(tmp_path / "catalog.json") == catalog
    assert [path.name for path in tmp_path.iterdir()] == ["catalog.json"], "no temporary file stays behind"


def test_an_own_list_may_be_yaml_with_real_dates(tmp_path: Path) -> None:
    path = tmp_path / "own.yml"
    path.write_text(
        "schema: 1\nproducts:\n  windows_server_2025:\n    2030-06:\n      released: 2030-06-11\n"
        '      updates:\n        - {kb: KB9000601, kind: lcu, build: "26100.50300"}\n'
    )
    assert load_catalog(path).products["windows_server_2025"][Month(2030, 6)].is_baseline


def broken(path: list[str | int], value: object) -> dict[str, t.Any]:
    """A valid catalog with one value replaced."""
    document = json.loads(merge([made_up(), own_list(fixes=[fix()])]).to_json())
    place: t.Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return t.cast("dict[str, t.Any]", document)


MONTH: list[str | int] = ["products", "windows_server_2025", "2030-05"]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["schema"], 2, "schema 2"),
        (["surprise"], 1, "Unknown key 'surprise'"),
        (["products", "windows_server_2099"], {}, "unknown product"),
        ([*MONTH, "released"], "soon", "not a date"),
        ([*MONTH, "updates", 0, "kb"], "9000501", "does not have the form"),
        ([*MONTH, "updates", 0, "kind"], "patch", "is not one of"),
        ([*MONTH, "updates", 0, "build"], "26100", "is not a build"),
        ([*MONTH, "updates", 0, "build"], 26100.5, "string is needed"),
        ([*MONTH, "updates"], {}, "list is needed"),
        ([*MONTH, "cves_known"], 1, "type bool"),
        ([*MONTH, "vulnerabilities", 0, "cvss"], True, "type float"),
        (["products", "windows_server_2025", "2030-13"], {}, "not a month"),
        (["fixes", 0, "refusal"], {"code": "x", "text": "y"}, "exactly one"),
        (["fixes", 0, "payload", "sha256"], "AB" * 32, "does not have the form"),
        (["fixes", 0, "products"], ["windows_10"], "unknown product"),
        (["packages"], {"KB9000501": {}}, "exactly one of"),
        (["packages"], {"KB9000501": {"url": "http://127.0.0.1/"}}, "needs 'sha256'"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(path: list[str | int], value: object, words: str) -> None:
    with pytest.raises(HotpatchError, match=words) as caught:
        Catalog.from_dict(broken(path, value))
    assert caught.value.code == "catalog_malformed"
    assert caught.value.where.startswith("catalog")


@pytest.mark.parametrize("text", ["", "[]", "just words", "{", "schema: [", "a: !!python/object/apply:os.getcwd []"])
def test_a_file_that_is_no_catalog_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "catalog"
    path.write_text(text)
    with pytest.raises(HotpatchError) as caught:
        load_catalog(path)
    assert caught.value.code == "catalog_malformed"


def test_files_that_cannot_be_read_or_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(HotpatchError) as missing:
        load_catalog(tmp_path / "none.json")
    assert (missing.value.code, missing.value.where) == ("file_missing", str(tmp_path / "none.json"))
    with pytest.raises(HotpatchError) as unwritable:
        write_catalog(tmp_path / "no" / "catalog.json", "{}")
    assert unwritable.value.code == "file_unwritable"


def test_what_the_calendar_knows_of_a_track_outlives_a_feed_that_does_not() -> None:
    month: dict[str, t.Any] = {
        "released": "2025-10-14",
        "cves_known": True,
        "updates": [{"kb": "KB5070893", "kind": "out_of_band", "build": "26100.6905"}],
    }
    merged = merge([shipped_catalog(), own_list(products={"windows_server_2025": {"2025-10": month}})])
    found = merged.find("windows_server_2025", "KB5070893")
    assert found is not None
    assert found[1].keeps_track is True


def test_later_fixes_of_one_id_replace_earlier_ones() -> None:
    merged = merge([own_list(fixes=[fix(title="old")]), own_list(fixes=[fix(title="new")])])
    assert [entry.title for entry in merged.fixes] == ["new"]


def test_the_outline_has_a_line_for_each_month_that_changes_with_its_content() -> None:
    before = outline(made_up()).splitlines()
    document = json.loads(made_up().to_json())
    document["products"]["windows_server_2025"]["2030-05"]["vulnerabilities"][0]["cvss"] = 1.0
    after = outline(Catalog.from_dict(document)).splitlines()
    assert len(before) == 3
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, True, False]


def test_the_summary_says_what_the_hotpatch_leaves_open() -> None:
    row = summarize_months(made_up())[-1]
    assert (row.lcu, row.hotpatch, row.cves, row.hotpatch_cves) == ("KB9000501 26100.50200", "KB9000503 26100.50110", 8, 4)
    assert row.left_open == ("CVE-2030-10002", "CVE-2030-10006", "CVE-2030-10008", "CVE-2030-10009")
