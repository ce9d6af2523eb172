# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every host, catalog order and moment, whatever they are?"""

from __future__ import annotations

import datetime
import json
import typing as t

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.decision.samples import FIXTURES, host

from ansible_collections.hotpatch.windows.plugins.plugin_utils._catalog_files import read_feed_file, shipped_catalog
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import (
    Assessment,
    Facts,
    Policy,
    assess,
    merge,
    plan_fleet,
    read_rings,
)
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.policy import Window
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.reasons import TEXTS

_UPDATES: t.Final = sorted(
    (str(update.build), update.kb)
    for months in shipped_catalog().products.values()
    for month in months.values()
    for update in month.updates
    if update.build is not None
)
builds = st.one_of(
    st.sampled_from([build for build, _kb in _UPDATES]),
    st.builds(lambda number, ubr: f"{number}.{ubr}", st.sampled_from([26100, 20348, 17763, 9600]), st.integers(0, 40000)),
)
hosts = st.builds(
    lambda build, kbs, vbs, boot, pending, kind: host(
        build,
        *kbs,
        vbs={"status": vbs},
        secure_boot=boot,
        pending_reboot={"required": bool(pending), "reasons": pending},
        host={"installation_type": kind},
    ),
    builds,
    st.lists(st.sampled_from([kb for _build, kb in _UPDATES]), max_size=4),
    st.sampled_from(["running", "running", "running", "off", "unknown"]),
    st.sampled_from(["on", "on", "on", "off"]),
    st.sampled_from([[], [], ["windows_update"], ["file_rename"]]),
    st.sampled_from(["Server", "Server Core", "Client"]),
)
days = st.dates(datetime.date(2024, 1, 1), datetime.date(2026, 12, 31))
policies = st.builds(
    lambda exploited, critical, above, hotpatch: {
        "hotpatch": hotpatch,
        "reboot_now": {"exploited": exploited, "critical": critical, "cvss_above": above},
    },
    st.booleans(),
    st.booleans(),
    st.one_of(st.none(), st.floats(0, 10)),
    st.sampled_from([True, True, False]),
)


def answer(info: dict[str, t.Any], policy: dict[str, t.Any], day: datetime.date) -> Assessment:
    """The answer with the shipped catalog."""
    return assess(Facts.from_host_info(info), shipped_catalog(), Policy.from_dict(policy), day)


@settings(deadline=None, max_examples=300)
@given(hosts, policies, days)
def test_the_same_inputs_give_the_same_answer_which_survives_json(
    info: dict[str, t.Any], policy: dict[str, t.Any], day: datetime.date
) -> None:
    first = answer(info, policy, day)
    shuffled = {**info, "updates": list(reversed(info["updates"]))}
    assert answer(shuffled, policy, day) == first
    assert Assessment.from_dict(json.loads(json.dumps(first.as_dict()))) == first
    assert all(reason.code in TEXTS for reason in first.reasons)
    assert first.reasons, "no answer without a reason"


@settings(deadline=None, max_examples=300)
@given(hosts, policies, days)
def test_a_hotpatch_is_only_ever_asked_for_on_the_track_of_its_own_quarter(
    info: dict[str, t.Any], policy: dict[str, t.Any], day: datetime.date
) -> None:
    found = answer(info, policy, day)
    if found.verdict.value == "hotpatch":
        assert found.track.value == "hotpatch"
        assert found.base is not None
        assert found.base.month is not None
        assert found.expected is not None
        assert found.expected.month is not None
        assert (found.expected.month.year * 12 + found.expected.month.month) - (found.base.month.year * 12 + found.base.month.month) <= 2
        # A restart that servicing already waits for comes first; the hotpatch itself never asks for one.
        steps = [found.next_action, *found.next_action.then]
        assert [step.reboot for step in steps if step.kind.value == "hotpatch"] == [False]
        assert found.next_action.reboot == info["pending_reboot"]["required"]
        assert all(row.met for row in found.prerequisites)


@settings(deadline=None, max_examples=300)
@given(hosts, policies, days)
def test_a_current_host_has_nothing_open_that_policy_would_reboot_for(
    info: dict[str, t.Any], policy: dict[str, t.Any], day: datetime.date
) -> None:
    found = answer(info, policy, day)
    if found.verdict.value == "current":
        assert not found.catalog.stale
        assert [row for row in found.residual if row.reboot_now and set(row.closed_by)] == []


@settings(deadline=None, max_examples=200)
@given(hosts, policies, days)
def test_doing_what_the_answer_says_leads_to_a_host_with_nothing_left_to_do(
    info: dict[str, t.Any], policy: dict[str, t.Any], day: datetime.date
) -> None:
    """Following the plan converges: each step is carried out on the facts, and after at most a few rounds nothing is left."""
    for _round in range(6):
        found = answer(info, policy, day)
        if found.next_action.kind.value == "none":
            assert found.verdict.value in ("current", "blocked", "not_eligible"), found.reasons
            return
        info = _carried_out(info, found)
    raise AssertionError(f"the plan goes round in circles: {found.as_dict()}")


def _carried_out(info: dict[str, t.Any], found: Assessment) -> dict[str, t.Any]:
    action = found.next_action
    if action.kind.value == "reboot":
        return {**info, "pending_reboot": {"required": False, "reasons": []}}
    machine = dict(info["host"])
    if action.build is not None:
        machine["ubr"] = max(machine["ubr"], action.build.ubr)
    return {**info, "host": machine, "updates": [*info["updates"], {"kb": action.kb, "state": "installed"}]}


@settings(deadline=None, max_examples=30)
@given(st.permutations(["2030-Apr.xml", "2030-May.xml", "2030-Jun-before.xml", "2030-May.json"]))
def test_the_order_of_feed_documents_does_not_matter(names: list[str]) -> None:
    expected = merge(read_feed_file(FIXTURES / name) for name in ("2030-Apr.xml", "2030-May.xml", "2030-Jun-before.xml"))
    assert merge(read_feed_file(FIXTURES / name) for name in names).to_json() == expected.to_json()


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from(["monday", "wednesday", "sunday"]), min_size=1, unique=True),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC", "Australia/Lord_Howe"]),
    st.integers(0, 23),
    st.integers(1, 7 * 24 * 60),
    st.datetimes(datetime.datetime(2026, 1, 1), datetime.datetime(2027, 12, 31)),
)
def test_openings_come_in_order_end_after_now_and_last_as_long_as_they_should(
    weekdays: list[str], zone: str, hour: int, minutes: int, moment: datetime.datetime
) -> None:
    now = moment.replace(tzinfo=datetime.UTC)
    openings = list(Window(tuple(weekdays), f"{hour:02}:00", zone, minutes).openings(now, 14))
    assert openings
    assert openings == sorted(openings)
    assert all(end > now and end - begin == datetime.timedelta(minutes=minutes) for begin, end in openings)


@settings(deadline=None, max_examples=60)
@given(st.lists(hosts, min_size=1, max_size=5), days, st.integers(0, 23))
def test_the_same_fleet_gives_the_same_plan_and_a_reboot_never_runs_outside_its_window(
    infos: list[dict[str, t.Any]], day: datetime.date, hour: int
) -> None:
    policy = Policy.from_dict({"windows": {"night": {"weekdays": ["sunday"], "time": "02:00", "timezone": "UTC", "duration_minutes": 120}}})
    answers = {f"h{index}": assess(Facts.from_host_info(info), shipped_catalog(), policy, day) for index, info in enumerate(infos)}
    rings = read_rings([{"name": "all", "hosts": list(answers), "window": "night"}], policy)
    now = datetime.datetime(day.year, day.month, day.day, hour, 30, tzinfo=datetime.UTC)
    plan = plan_fleet(answers, rings, policy, now)
    assert plan_fleet(dict(reversed(answers.items())), rings, policy, now) == plan
    inside = day.weekday() == 6 and hour in (2, 3)
    for row in plan.rings[0].hosts:
        assert not (row.may and row.action.reboot and not inside)
