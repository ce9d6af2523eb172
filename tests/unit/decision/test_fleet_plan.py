# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may happen when: rings, windows, freezes, soak time and failure budgets."""

from __future__ import annotations

import datetime
import typing as t

import pytest
from unit.decision.samples import LAX, fix, host, judged, made_up, own_list

from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import (
    Assessment,
    FleetPlan,
    Policy,
    Progress,
    merge,
    plan_fleet,
    read_rings,
)
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

WINDOW: t.Final = {"weekdays": ["saturday"], "time": "22:00", "timezone": "Europe/Berlin", "duration_minutes": 240}
RINGS: t.Final = [
    {"name": "canary", "hosts": ["a"], "soak_hours": 24, "window": "night"},
    {"name": "rest", "hosts": ["b", "c"], "failure_budget": 1, "window": "night"},
]
SATURDAY_NIGHT = "2030-05-18T20:30:00+00:00"  # 22:30 in Berlin


def answers() -> dict[str, Assessment]:
    """Two hosts that need a reboot and one that needs a hotpatch."""
    behind = judged(host("26100.49200", "KB9000301"), made_up(), "2030-05-18", LAX)
    ready = judged(host("26100.50000", "KB9000401"), made_up(), "2030-05-18", LAX)
    return {"a": behind, "b": behind, "c": ready}


def planned(
    now: str,
    progress: dict[str, t.Any] | None = None,
    rings: list[dict[str, t.Any]] | None = None,
    hosts: dict[str, Assessment] | None = None,
    **policy: t.Any,
) -> FleetPlan:
    """The plan at a moment."""
    rules = Policy.from_dict({"windows": {"night": WINDOW}, **policy})
    moment = datetime.datetime.fromisoformat(now)
    return plan_fleet(hosts or answers(), read_rings(rings or RINGS, rules), rules, moment, Progress.from_dict(progress or {}))


def may(plan: FleetPlan) -> dict[str, bool]:
    """Host to whether its next action may run."""
    return {row.host: row.may for ring in plan.rings for row in ring.hosts}


def states(plan: FleetPlan) -> list[str]:
    """The states of the rings."""
    return [ring.state.value for ring in plan.rings]


def reasons(plan: FleetPlan, name: str) -> list[str]:
    """The codes of a host's reasons."""
    return [why.code for ring in plan.rings for row in ring.hosts if row.host == name for why in row.reasons]


def at(moment: str) -> float:
    """Seconds since 1970."""
    return datetime.datetime.fromisoformat(moment).timestamp()


def test_only_the_first_ring_may_begin() -> None:
    plan = planned(SATURDAY_NIGHT)
    assert may(plan) == {"a": True, "b": False, "c": False}
    assert states(plan) == ["open", "waiting"]
    assert reasons(plan, "c") == ["ring_waits"]


def test_the_next_ring_waits_out_the_soak_time_and_knows_when_it_ends() -> None:
    done = {"a": {"state": "done", "at": at(SATURDAY_NIGHT)}}
    early = planned("2030-05-19T20:29:00+00:00", done)
    assert (states(early), reasons(early, "c")) == (["done", "waiting"], ["ring_soaks"])
    assert str(early.rings[1].opens_at) == "2030-05-19 20:30:00+00:00"
    late = planned("2030-05-19T20:30:00+00:00", done)
    assert (states(late), may(late)["c"]) == (["done", "open"], True)


def test_a_reboot_waits_for_the_window_and_a_hotpatch_does_not() -> None:
    plan = planned("2030-05-20T12:00:00+00:00", {"a": {"state": "done", "at": at(SATURDAY_NIGHT)}})
    assert (may(plan)["b"], reasons(plan, "b")) == (False, ["window_closed"])
    assert (may(plan)["c"], reasons(plan, "c")) == (True, [])
    assert str(plan.rings[1].opens_at) == "2030-05-25 20:00:00+00:00"


@pytest.mark.parametrize(
    ("now", "is_open"),
    [
        ("2030-05-18T19:59:00+00:00", False),
        ("2030-05-18T20:00:00+00:00", True),
        ("2030-05-18T23:59:00+00:00", True),
        ("2030-05-19T00:00:00+00:00", False),
        ("2030-12-14T20:59:00+00:00", False),
        ("2030-12-14T21:00:00+00:00", True),
    ],
)
def test_a_window_lies_in_its_own_time_zone_over_midnight_and_through_daylight_saving(now: str, is_open: bool) -> None:
    plan = planned(now)
    assert may(plan)["a"] is is_open


def test_the_repeated_hour_of_autumn_does_not_lengthen_a_window() -> None:
    window = {"weekdays": ["sunday"], "time": "01:00", "timezone": "Europe/Berlin", "duration_minutes": 120}
    rings = [{"name": "all", "hosts": ["a"], "window": "dawn"}]
    # On 27 October 2030 the clock goes from 03:00 back to 02:00: the window opens at 23:00 UTC and lasts two real hours.
    for now, is_open in (("2030-10-26T23:00:00+00:00", True), ("2030-10-27T00:59:00+00:00", True), ("2030-10-27T01:00:00+00:00", False)):
        plan = planned(now, rings=rings, windows={"dawn": window})
        assert may(plan)["a"] is is_open, now


def test_a_freeze_stops_reboots_only_and_moves_the_opening_behind_it() -> None:
    freeze = [{"from": "2030-05-17", "until": "2030-05-26", "reason": "fair"}]
    plan = planned(SATURDAY_NIGHT, {"a": {"state": "done", "at": 0}}, freeze=freeze)
    assert (may(plan)["b"], reasons(plan, "b"), may(plan)["c"]) == (False, ["freeze"], True)
    assert str(plan.rings[1].opens_at) == "2030-06-01 20:00:00+00:00"


def test_a_ring_without_a_window_is_always_open_but_for_freezes() -> None:
    rings = [{"name": "all", "hosts": ["a"]}]
    assert may(planned("2030-05-21T03:00:00+00:00", rings=rings))["a"]
    assert not may(planned("2030-05-21T03:00:00+00:00", rings=rings, freeze=[{"from": "2030-05-21", "until": "2030-05-21"}]))["a"]


def test_a_used_up_budget_stops_this_ring_and_all_later_ones() -> None:
    failed = {"a": {"state": "failed", "at": 0}}
    plan = planned(SATURDAY_NIGHT, failed)
    assert plan.stopped is not None
    assert (plan.stopped.code, states(plan), may(plan)) == ("budget_used", ["stopped", "stopped"], {"a": False, "b": False, "c": False})


def test_a_failure_within_the_budget_stops_nothing() -> None:
    progress = {"a": {"state": "done", "at": 0}, "b": {"state": "failed", "at": 0}}
    plan = planned(SATURDAY_NIGHT, progress)
    assert (plan.stopped, may(plan)["c"], reasons(plan, "b")) == (None, True, ["failed"])


def test_hosts_with_nothing_to_do_do_not_hold_up_the_next_ring() -> None:
    hosts = {**answers(), "a": judged(host("26100.50110", "KB9000401", "KB9000503", "KB9000504"), made_up(), "2030-05-18", LAX)}
    plan = planned(SATURDAY_NIGHT, hosts=hosts)
    assert (states(plan), reasons(plan, "a")) == (["done", "open"], ["nothing_to_do"])


def test_a_payload_already_in_force_is_no_work_and_a_missing_one_is() -> None:
    catalog = merge([made_up(), own_list(fixes=[fix()])])
    level = ("26100.50110", "KB9000401", "KB9000503", "KB9000504")
    payload = {"id": "orders-2030-05", "sequence": 3, "cves": [], "state": "in_force"}
    missing = planned(SATURDAY_NIGHT, hosts={**answers(), "a": judged(host(*level), catalog, "2030-05-18", LAX)})
    there = planned(SATURDAY_NIGHT, hosts={**answers(), "a": judged(host(*level, payloads=[payload]), catalog, "2030-05-18", LAX)})
    assert (states(missing)[0], states(there)[0]) == ("open", "done")


def test_a_host_in_no_ring_is_named_and_left_alone() -> None:
    plan = planned(SATURDAY_NIGHT, hosts={**answers(), "z": answers()["a"]})
    assert (may(plan)["z"], reasons(plan, "z")) == (False, ["in_no_ring"])


@pytest.mark.parametrize(
    ("policy", "rings", "words"),
    [
        ({"windows": {"w": {**WINDOW, "timezone": "Mars/Olympus"}}}, [], "time zone"),
        ({"windows": {"w": {**WINDOW, "weekdays": ["caturday"]}}}, [], "weekday"),
        ({"windows": {"w": {**WINDOW, "weekdays": []}}}, [], "weekday"),
        ({"windows": {"w": {**WINDOW, "time": "24:00"}}}, [], "form"),
        ({"windows": {"w": {**WINDOW, "duration_minutes": 0}}}, [], "duration_minutes"),
        ({"freeze": [{"from": "2030-02-01", "until": "2030-01-01"}]}, [], "before it begins"),
        ({"freeze": [{"first": "2030-02-01", "until": "2030-03-01"}]}, [], "Unknown key 'first'"),
        ({"reboot_now": {"cvss_above": 11}}, [], "between 0 and 10"),
        ({"reboot_now": {"cves": ["CVE-1"]}}, [], "form"),
        ({"reboot": True}, [], "Unknown key 'reboot'"),
        ({}, [{"name": "a", "hosts": [], "window": "none"}], "unknown window"),
        ({}, [{"name": "a", "hosts": ["x"]}, {"name": "b", "hosts": ["x"]}], "is in the rings"),
        ({}, [{"name": "a", "hosts": []}, {"name": "a", "hosts": []}], "two rings"),
        ({}, [{"name": "a", "hosts": [], "failure_budget": -1}], "negative"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(policy: dict[str, t.Any], rings: list[dict[str, t.Any]], words: str) -> None:
    with pytest.raises(HotpatchError, match=words) as caught:
        read_rings(rings, Policy.from_dict(policy))
    assert caught.value.code == "policy_invalid"
