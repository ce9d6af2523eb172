# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is a host told, in each place it can stand in?"""

from __future__ import annotations

import datetime
import json
import typing as t

import pytest
from unit.decision.samples import LAX, codes, fix, host, judged, made_up, own_list, steps

from ansible_collections.hotpatch.windows.plugins.plugin_utils._catalog_files import shipped_catalog
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import Assessment, Catalog, Facts, Policy, check_package, merge
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.reasons import TEXTS

MAY_2030 = "2030-05-20"
NOV_2025 = "2025-11-12"
DEC_2025 = "2025-12-10"
MAY_2026 = "2026-05-13"


# -- traps of the real calendar -----------------------------------------------------------------------------------------------


def test_a_hotpatched_host_is_current_although_its_revision_is_below_the_cumulative_update() -> None:
    answer = judged(host("26100.32772", "KB5082063", "KB5087423"), shipped_catalog(), MAY_2026)
    assert (answer.verdict.value, steps(answer)) == ("current", [("none", None)])
    assert str(answer.level and answer.level.build) < "26100.32860"


def test_client_windows_with_the_same_build_number_is_not_judged_as_a_server() -> None:
    client = host("26100.7623", "KB5074109", host={"installation_type": "Client", "product_name": "Windows 11 Enterprise"})
    answer = judged(client, shipped_catalog(), "2026-01-14")
    assert (answer.verdict.value, answer.product, codes(answer)) == ("not_eligible", None, ["product_without_hotpatch"])


@pytest.mark.parametrize(
    ("kbs", "verdict", "expected_steps", "reason"),
    [
        (["KB5070893"], "hotpatch", [("hotpatch", "KB5068966")], "hotpatch_available"),
        (["KB5070881"], "cumulative_update", [("cumulative_update", "KB5068861")], "wrong_track"),
        (["KB5070881", "KB5070893"], "cumulative_update", [("cumulative_update", "KB5068861")], "wrong_track"),
        ([], "blocked", [("none", None)], "level_ambiguous"),
    ],
)
def test_of_two_packages_with_one_revision_only_the_right_one_keeps_the_track(
    kbs: list[str], verdict: str, expected_steps: list[tuple[str, str | None]], reason: str
) -> None:
    answer = judged(host("26100.6905", *kbs), shipped_catalog(), NOV_2025)
    assert (answer.verdict.value, steps(answer)) == (verdict, expected_steps)
    assert reason in codes(answer)


def test_an_out_of_band_package_of_which_nothing_is_known_does_not_count_as_keeping_the_track() -> None:
    packages = [{"kb": "KB9000409", "kind": "out_of_band", "build": "26100.50005"}]
    april = {"released": "2030-04-09", "updates": packages}
    catalog = merge([made_up(), own_list(products={"windows_server_2025": {"2030-04": april}})])
    answer = judged(host("26100.50005", "KB9000409"), catalog, MAY_2030, LAX)
    assert (answer.track.value, steps(answer)) == ("cumulative", [("cumulative_update", "KB9000501")])


def test_the_wrong_track_costs_the_quarter_and_the_next_baseline_ends_it() -> None:
    lost = judged(host("26100.7171", "KB5068861"), shipped_catalog(), DEC_2025)
    assert (lost.verdict.value, lost.track.value, steps(lost)) == ("cumulative_update", "cumulative", [("cumulative_update", "KB5072033")])
    back = judged(host("26100.7462", "KB5072033"), shipped_catalog(), "2026-01-14")
    assert (back.verdict.value, steps(back)) == ("baseline", [("baseline", "KB5073379")])
    again = judged(host("26100.32230", "KB5073379"), shipped_catalog(), "2026-02-11")
    assert (again.verdict.value, steps(again)) == ("hotpatch", [("hotpatch", "KB5075942")])


def test_an_unplanned_baseline_is_called_so_and_leaves_the_planned_one_where_it_is() -> None:
    answer = judged(host("20348.2582", "KB5040437"), shipped_catalog(), "2024-08-14")
    assert (answer.verdict.value, answer.detail and answer.detail.value) == ("baseline", "unplanned")
    assert steps(answer) == [("baseline", "KB5041160")]
    assert answer.next_baseline is not None
    assert str(answer.next_baseline.month) == "2024-10"
    september = judged(host("20348.2655", "KB5041160"), shipped_catalog(), "2024-09-11")
    assert steps(september) == [("hotpatch", "KB5042880")], "the unplanned baseline is the base of the rest of the quarter"


def test_the_package_beside_the_hotpatch_is_asked_for_until_it_is_there() -> None:
    before = judged(host("26100.7092", "KB5066835", "KB5068966"), shipped_catalog(), DEC_2025)
    assert steps(before) == [("hotpatch", "KB5072014"), ("hotpatch", "KB5074204")]
    between = judged(host("26100.7392", "KB5066835", "KB5072014"), shipped_catalog(), DEC_2025)
    assert steps(between) == [("hotpatch", "KB5074204")]
    after = judged(host("26100.7392", "KB5066835", "KB5072014", "KB5074204"), shipped_catalog(), DEC_2025)
    assert (after.verdict.value, after.residual) == ("current", ())


def test_of_two_hotpatches_in_a_month_the_later_one_is_asked_for() -> None:
    answer = judged(host("26100.3981", "KB5055523", "KB5058497"), shipped_catalog(), "2025-05-20")
    assert steps(answer) == [("hotpatch", "KB5061258")]


# -- residual risk ------------------------------------------------------------------------------------------------------------


def test_may_2026_on_windows_server_2022_calls_for_the_reboot_because_a_critical_hole_stays_open() -> None:
    answer = judged(host("20348.5020", "KB5082142"), shipped_catalog(), MAY_2026)
    assert (answer.verdict.value, steps(answer)) == ("cumulative_update", [("cumulative_update", "KB5087545")])
    assert codes(answer)[:2] == ["residual_critical", "leaves_track"]
    assert "CVE-2026-32161" in answer.reasons[0].text


def test_may_2026_waits_for_the_baseline_when_policy_says_so_and_lists_what_waits_with_its_date() -> None:
    answer = judged(host("20348.5020", "KB5082142"), shipped_catalog(), MAY_2026, LAX)
    assert (answer.verdict.value, steps(answer)) == ("hotpatch", [("hotpatch", "KB5087424")])
    assert [(row.cve, str(row.open_until)) for row in answer.residual] == [
        (cve, "2026-07-14") for cve in ("CVE-2026-32161", "CVE-2026-42825", "CVE-2026-21530", "CVE-2026-32170", "CVE-2025-54518")
    ]
    assert (answer.open_now.count, answer.open_now.critical) == (58, 5)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"critical": False, "cves": ["CVE-2026-42825"]}, "residual_named"),
        ({"critical": False, "cvss_above": 7.4}, "residual_cvss_above"),
        ({"critical": False, "cvss_above": 7.5}, None),
    ],
)
def test_each_reboot_now_rule_decides_by_itself(rules: dict[str, t.Any], reason: str | None) -> None:
    answer = judged(host("20348.5074", "KB5082142", "KB5087424"), shipped_catalog(), MAY_2026, {"reboot_now": rules})
    assert answer.verdict.value == ("cumulative_update" if reason else "current")
    assert (reason in codes(answer)) if reason else not [code for code in codes(answer) if code.startswith("residual")]


def test_a_cve_that_an_earlier_months_update_fixes_is_not_open_on_a_host_that_has_it() -> None:
    answer = judged(host("26100.7092", "KB5066835", "KB5068966"), shipped_catalog(), NOV_2025)
    assert (answer.verdict.value, answer.residual, answer.open_now.count) == ("current", (), 0)


def test_a_payload_in_force_covers_its_cve_and_no_reboot_is_called_for() -> None:
    payload = {"id": "wifi", "sequence": 1, "cves": ["CVE-2026-32161"], "state": "in_force"}
    answer = judged(host("20348.5074", "KB5082142", "KB5087424", payloads=[payload]), shipped_catalog(), MAY_2026)
    assert answer.verdict.value == "current"
    assert [(row.covered_by, row.reboot_now) for row in answer.residual if row.cve == "CVE-2026-32161"] == [("wifi", None)]


def test_a_month_known_from_the_calendar_alone_never_claims_that_nothing_is_open() -> None:
    answer = judged(host("26100.4851", "KB5062553", "KB5064010"), shipped_catalog(), "2025-08-13")
    assert "residual_unknown" in codes(answer)


# -- places a host can stand in -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "kbs", "verdict", "detail", "expected_steps"),
    [
        ("26100.50110", ["KB9000401", "KB9000503", "KB9000504"], "current", None, [("none", None)]),
        ("26100.50000", ["KB9000401"], "hotpatch", None, [("hotpatch", "KB9000503"), ("hotpatch", "KB9000504")]),
        (
            "26100.49200",
            ["KB9000301"],
            "baseline",
            "missed",
            [("baseline", "KB9000401"), ("hotpatch", "KB9000503"), ("hotpatch", "KB9000504")],
        ),
        ("26100.50200", ["KB9000501"], "current", None, [("none", None)]),
        ("26100.50050", ["KB9000999"], "cumulative_update", None, [("cumulative_update", "KB9000501")]),
        ("26100.50210", ["KB9000505"], "current", None, [("none", None)]),
    ],
)
def test_each_level_gets_its_verdict(
    build: str, kbs: list[str], verdict: str, detail: str | None, expected_steps: list[tuple[str, str | None]]
) -> None:
    answer = judged(host(build, *kbs), made_up(), MAY_2030, LAX)
    assert (answer.verdict.value, answer.detail.value if answer.detail else None) == (verdict, detail)
    assert steps(answer) == expected_steps


def test_a_planned_baseline_is_called_planned() -> None:
    answer = judged(host("26100.49200", "KB9000301"), made_up(), "2030-04-12")
    assert (answer.verdict.value, answer.detail and answer.detail.value) == ("baseline", "planned")


def test_the_future_of_the_catalog_is_not_asked_for_before_its_day() -> None:
    assert judged(host("26100.50000", "KB9000401"), made_up(), "2030-05-13").verdict.value == "current"
    assert judged(host("26100.50000", "KB9000401"), made_up(), "2030-05-14", LAX).verdict.value == "hotpatch"


def test_a_build_whose_package_windows_does_not_list_is_taken_and_remarked() -> None:
    answer = judged(host("26100.50000"), made_up(), MAY_2030, LAX)
    assert answer.verdict.value == "hotpatch"
    assert "level_by_build_only" in codes(answer)


def test_a_stale_catalog_never_says_current_but_still_says_what_is_missing() -> None:
    current = judged(host("26100.50110", "KB9000401", "KB9000503", "KB9000504"), made_up(), "2030-06-20", LAX)
    assert (current.verdict.value, codes(current)[0], current.catalog.stale) == ("blocked", "catalog_stale", True)
    behind = judged(host("26100.50000", "KB9000401"), made_up(), "2030-06-20", LAX)
    assert behind.verdict.value == "hotpatch"
    assert "catalog_stale" in codes(behind)
    graced = judged(host("26100.50110", "KB9000401", "KB9000503", "KB9000504"), made_up(), "2030-06-13", LAX)
    assert graced.verdict.value == "current", "Patch Tuesday was two days ago"


def test_policy_can_keep_a_host_on_cumulative_updates() -> None:
    answer = judged(host("26100.50000", "KB9000401"), made_up(), MAY_2030, {"hotpatch": False})
    assert steps(answer) == [("cumulative_update", "KB9000501")]
    assert "policy_no_hotpatch" in codes(answer)


def test_a_pending_reboot_of_servicing_comes_first_and_a_renamed_file_does_not() -> None:
    pending = {"required": True, "reasons": ["component_based_servicing"]}
    answer = judged(host("26100.49200", "KB9000301", pending_reboot=pending), made_up(), "2030-04-12")
    assert steps(answer) == [("reboot", None), ("baseline", "KB9000401")]
    renamed = judged(
        host("26100.49200", "KB9000301", pending_reboot={"required": True, "reasons": ["file_rename"]}), made_up(), "2030-04-12"
    )
    assert steps(renamed) == [("baseline", "KB9000401")]


@pytest.mark.parametrize("missing", ["current_build", "ubr", "installation_type"])
def test_a_host_that_does_not_say_what_it_is_is_blocked(missing: str) -> None:
    info = host()
    del info["host"][missing]
    answer = judged(info, made_up(), MAY_2030)
    assert (answer.verdict.value, codes(answer), steps(answer)) == ("blocked", ["facts_incomplete"], [("none", None)])


def test_an_empty_catalog_or_one_without_the_baseline_blocks() -> None:
    assert codes(judged(host(), Catalog(), MAY_2030)) == ["catalog_empty"]
    may_alone = Catalog(
        products={"windows_server_2025": {k: v for k, v in made_up().products["windows_server_2025"].items() if k.month == 5}}
    )
    assert "catalog_lacks_baseline" in codes(judged(host("26100.50000", "KB9000401"), may_alone, MAY_2030))


# -- prerequisites ------------------------------------------------------------------------------------------------------------

STANDARD = {"product_name": "Windows Server 2025 Standard", "edition_id": "ServerStandard"}


@pytest.mark.parametrize(
    ("changes", "unmet"),
    [
        ({"vbs": {"status": "off"}}, "vbs_running"),
        ({"vbs": {"status": "enabled"}}, "vbs_running"),
        ({"vbs": {"status": "unknown"}}, "vbs_running"),
        ({"secure_boot": "off"}, "secure_boot"),
        ({"secure_boot": "unsupported"}, "secure_boot"),
        ({"arc": {"installed": True, "connected": False}}, "arc_connected"),
        ({"arc": None}, "arc_connected"),
        ({"host": {"edition_id": "ServerStorageStandard", "product_name": "Windows Storage Server"}}, "edition"),
        ({"host": {"architecture": "arm64"}}, "architecture"),
    ],
)
def test_each_prerequisite_alone_makes_a_host_not_eligible_and_says_what_to_do(changes: dict[str, t.Any], unmet: str) -> None:
    answer = judged(host("26100.50000", "KB9000401", **changes), made_up(), MAY_2030)
    assert answer.verdict.value == "not_eligible"
    rows = [row for row in answer.prerequisites if row.met is not True]
    assert [row.code for row in rows] == [unmet]
    assert rows[0].remedy
    assert rows[0].remedy.rstrip(".") in answer.reasons[0].text
    assert steps(answer) == [("cumulative_update", "KB9000501")], "security does not wait for eligibility"


def test_a_build_before_release_is_not_eligible() -> None:
    answer = judged(host("26100.1000"), made_up(), MAY_2030)
    assert [row.code for row in answer.prerequisites if row.met is not True] == ["released_build"]


def test_windows_server_2022_needs_the_azure_edition_and_2025_standard_needs_arc() -> None:
    plain = judged(
        host("20348.7000", "KB9000402", host={"product_name": "Windows Server 2022 Standard", **STANDARD}), made_up(), "2030-04-12"
    )
    assert plain.verdict.value == "not_eligible"
    assert judged(host("26100.50000", "KB9000401", host=STANDARD), made_up(), MAY_2030, LAX).verdict.value == "hotpatch"
    azure = {"product_name": "Windows Server 2025 Datacenter Azure Edition", "edition_id": "ServerTurbine"}
    without_arc = host("26100.50000", "KB9000401", host=azure, arc={"installed": False, "connected": False})
    assert judged(without_arc, made_up(), MAY_2030, LAX).verdict.value == "hotpatch"


@pytest.mark.parametrize(
    ("enrollment", "unmet"),
    [
        ({"EnableVirtualizationBasedSecurity": 0, "HotPatchTableSize": 4096, "ArcSubscription": 1}, ["vbs_configured"]),
        ({"EnableVirtualizationBasedSecurity": 1, "HotPatchTableSize": 0, "ArcSubscription": 1}, ["hotpatch_table_size"]),
        ({"EnableVirtualizationBasedSecurity": 1, "HotPatchTableSize": 4096}, ["enrollment_marker"]),
        ({}, ["vbs_configured", "hotpatch_table_size", "enrollment_marker"]),
    ],
)
def test_a_host_that_could_hotpatch_is_told_to_enrol_first_and_then_what_it_lacks(enrollment: dict[str, t.Any], unmet: list[str]) -> None:
    answer = judged(host("26100.49200", "KB9000301", enrollment=enrollment), made_up(), "2030-04-12")
    assert answer.verdict.value == "not_enrolled"
    assert [row.code for row in answer.prerequisites if row.met is not True] == unmet
    assert steps(answer) == [("enroll", None), ("baseline", "KB9000401")]


def test_windows_server_2022_needs_its_prerequisite_package_once() -> None:
    info = host("20348.7000", "KB9000402")
    info["enrollment"] = {"EnableVirtualizationBasedSecurity": 1, "HotPatchTableSize": 4096, "AllowRebootlessUpdates": 1}
    assert "prerequisite_package" in [row.code for row in judged(info, made_up(), "2030-04-12").prerequisites if not row.met]
    info["updates"].append({"kb": "KB5003508", "state": "installed"})
    assert judged(info, made_up(), "2030-04-12").verdict.value == "current"


# -- the own list ---------------------------------------------------------------------------------------------------------------


def own(**changes: t.Any) -> Catalog:
    """The made-up months with one own fix."""
    return merge([made_up(), own_list(fixes=[fix(**changes)])])


CURRENT = ("26100.50110", "KB9000401", "KB9000503", "KB9000504")


def test_a_payload_is_wanted_until_the_hosts_updates_contain_it() -> None:
    wanted = judged(host(*CURRENT), own(), MAY_2030, LAX).payloads
    assert [(payload.id, payload.sequence, payload.in_force) for payload in wanted.wanted] == [("orders-2030-05", 3, False)]
    contained = judged(host(*CURRENT, "KB9000601"), own(), MAY_2030, LAX).payloads
    assert (contained.wanted, contained.drop) == ((), ())


@pytest.mark.parametrize("state", ["in_force", "wanted"])
def test_a_payload_the_host_holds_is_dropped_when_the_updates_contain_it_and_kept_before(state: str) -> None:
    payload = {"id": "orders-2030-05", "sequence": 3, "cves": ["CVE-2030-90001"], "state": state}
    before = judged(host(*CURRENT, payloads=[payload]), own(), MAY_2030, LAX).payloads
    assert ([row.in_force for row in before.wanted], before.drop) == ([state == "in_force"], ())
    after = judged(host(*CURRENT, "KB9000601", payloads=[payload]), own(), MAY_2030, LAX).payloads
    assert [(row.id, row.reason_code) for row in after.drop] == [("orders-2030-05", "payload_contained")]


def test_an_older_sequence_in_force_does_not_count_as_the_wanted_payload() -> None:
    payload = {"id": "orders-2030-05", "sequence": 2, "cves": [], "state": "in_force"}
    assert [row.in_force for row in judged(host(*CURRENT, payloads=[payload]), own(), MAY_2030, LAX).payloads.wanted] == [False]


def test_a_calendar_update_contains_a_fix_by_its_build_even_when_windows_lists_only_a_later_one() -> None:
    catalog = own(contained_in=["KB9000401"])
    assert judged(host("26100.50200", "KB9000501"), catalog, MAY_2030, LAX).payloads.wanted == ()
    assert judged(host("26100.49200", "KB9000301"), catalog, MAY_2030, LAX).payloads.wanted


NAMED = {"reboot_now": {"critical": False, "exploited": False, "cves": ["CVE-2030-90001"]}}
REFUSAL = {"code": "build_layout_changed", "text": "The structure order changes its size."}


def test_a_fix_without_a_payload_leads_to_its_update_and_a_reboot_when_policy_says_so() -> None:
    answer = judged(host(*CURRENT), own(refusal=REFUSAL), MAY_2030, NAMED)
    assert (answer.verdict.value, steps(answer)) == ("cumulative_update", [("cumulative_update", "KB9000601")])
    assert answer.next_action.reboot
    assert [(row.id, row.reason_code, row.then_kb) for row in answer.payloads.unavailable] == [
        ("orders-2030-05", "build_layout_changed", "KB9000601")
    ]
    done = judged(host(*CURRENT, "KB9000601"), own(refusal=REFUSAL), MAY_2030, NAMED)
    assert (done.verdict.value, done.payloads.unavailable) == ("current", ())


def test_a_fix_without_a_payload_waits_with_its_date_when_policy_says_so() -> None:
    answer = judged(host(*CURRENT), own(refusal=REFUSAL), MAY_2030, LAX)
    assert answer.verdict.value == "current"
    assert [(row.cve, str(row.open_until)) for row in answer.residual if row.month is None] == [("CVE-2030-90001", "2030-07-09")]


def test_a_hotpatch_still_follows_a_vendors_update_that_does_not_contain_it() -> None:
    answer = judged(host("26100.50000", "KB9000401"), own(refusal=REFUSAL), MAY_2030, NAMED)
    assert steps(answer) == [("cumulative_update", "KB9000601"), ("hotpatch", "KB9000503"), ("hotpatch", "KB9000504")]


def test_a_fix_without_payload_and_without_update_is_said_and_changes_no_verdict() -> None:
    answer = judged(
        host(*CURRENT), own(refusal=REFUSAL, contained_in=[], cves=["CVE-2030-90001"]), MAY_2030, {"reboot_now": {"critical": True}}
    )
    assert "CVE-2030-90001" in {row.cve for row in answer.residual if row.reboot_now == "critical"}
    unknown = own_list(fixes=[fix(refusal=REFUSAL, contained_in=[])])
    alone = judged(host("26100.50000", "KB9000401"), merge([made_up(), unknown]), "2030-04-12", {"reboot_now": {"critical": True}})
    assert (alone.verdict.value, "residual_no_remedy" in codes(alone)) == ("current", True)


def test_fixes_of_other_products_do_not_concern_a_host_and_unknown_windows_still_gets_payloads() -> None:
    catalog = own(products=["windows_server_2019"])
    assert judged(host(*CURRENT), catalog, MAY_2030, LAX).payloads.wanted == ()
    old = host("9600.22000", host={"product_name": "Windows Server 2012 R2", "installation_type": "Server"})
    assert [row.id for row in judged(old, own(), MAY_2030).payloads.wanted] == ["orders-2030-05"]


def test_the_package_of_a_step_is_where_the_catalog_says_it_lies() -> None:
    place = {"KB9000503": {"file": "/srv/hotpatch.msu", "sha256": "cd" * 32, "size": 12}}
    answer = judged(host("26100.50000", "KB9000401"), merge([made_up(), own_list(packages=place)]), MAY_2030, LAX)
    assert answer.next_action.file is not None
    assert answer.next_action.file.file == "/srv/hotpatch.msu"


# -- packages refused beforehand ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kb", "build", "kbs", "day", "code"),
    [
        ("KB5070881", "26100.6899", ["KB5066835"], "2025-10-24", "package_wrong_track"),
        ("KB5070893", "26100.6899", ["KB5066835"], "2025-10-24", None),
        ("KB5068861", "26100.6899", ["KB5066835"], NOV_2025, "package_wrong_track"),
        ("KB5068966", "26100.6899", ["KB5066835"], NOV_2025, None),
        ("KB5087545", "26100.32690", ["KB5082063"], MAY_2026, "package_not_applicable"),
        ("KB5068861", "26100.6905", ["KB5070881"], NOV_2025, None),
        ("KB9999999", "26100.6899", ["KB5066835"], NOV_2025, None),
        ("KB5087545", "20348.5020", ["KB5082142"], MAY_2026, None),
    ],
)
def test_a_package_that_would_cost_the_track_is_refused_beforehand(kb: str, build: str, kbs: list[str], day: str, code: str | None) -> None:
    facts = Facts.from_host_info(host(build, *kbs))
    found = check_package(kb, facts, shipped_catalog(), Policy(), datetime.date.fromisoformat(day))
    assert (found.code if found else None) == code


# -- shape ------------------------------------------------------------------------------------------------------------------------


def test_an_answer_survives_json_and_back() -> None:
    answer = judged(host("20348.5020", "KB5082142"), shipped_catalog(), MAY_2026)
    assert Assessment.from_dict(json.loads(json.dumps(answer.as_dict()))) == answer


def test_the_calendar_of_the_quarter_shows_plan_and_outcome() -> None:
    answer = judged(host("20348.2695", "KB5042880"), shipped_catalog(), "2024-09-11")
    rows = [(str(row.month), row.planned.value, row.actual.value if row.actual else None) for row in answer.calendar]
    assert rows == [("2024-08", "hotpatch", "baseline"), ("2024-09", "hotpatch", "hotpatch"), ("2024-10", "baseline", None)]


def test_reboots_avoided_are_the_months_taken_as_hotpatches() -> None:
    assert judged(host("26100.32463", "KB5073379", "KB5078736"), shipped_catalog(), "2026-03-11").reboots_avoided == 2
    assert judged(host("26100.32690", "KB5082063"), shipped_catalog(), "2026-04-15").reboots_avoided == 0


def test_every_reason_has_a_text_that_can_be_filled() -> None:
    for code, text in TEXTS.items():
        assert text.endswith((".", "}.")), code
