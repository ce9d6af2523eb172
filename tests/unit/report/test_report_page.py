# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does the report say what the data says, in one file that needs nothing else?"""

from __future__ import annotations

import html.parser
import re
import typing as t

import pytest
from ansible.errors import AnsibleFilterError
from integration.report.fleet import fleet

from ansible_collections.hotpatch.windows.plugins.filter.report_html import report_html
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import Verdict
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.assessment import ActionKind
from ansible_collections.hotpatch.windows.plugins.plugin_utils._report import collect
from ansible_collections.hotpatch.windows.plugins.plugin_utils._report.page import bars, timeline
from ansible_collections.hotpatch.windows.plugins.plugin_utils._report.words import ACTIONS, VERDICTS


class Document(html.parser.HTMLParser):
    """Elements and attributes of a page, and whether every element is closed."""

    VOID: t.Final = frozenset({"meta", "link", "rect", "circle", "line", "input", "br", "img"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def data() -> dict[str, t.Any]:
    """120 hosts."""
    return fleet(120)


@pytest.fixture(scope="module")
def page(data: dict[str, t.Any]) -> str:
    """Their report."""
    return report_html(data)


def test_the_page_is_one_file_that_loads_nothing(page: str) -> None:
    document = Document(page)
    assert document.open == []
    for tag, attributes in document.elements:
        assert "src" not in attributes, tag
        assert "style" not in attributes, "the page's policy forbids it"
        assert not [name for name in attributes if name.startswith("on")], tag
        assert str(attributes.get("href", "#")).startswith(("#", "data:")), attributes
    assert not re.search(r"url\(|@import", page)
    assert "default-src 'none'" in page


def test_the_same_data_gives_the_same_page_whatever_the_order_of_the_hosts(data: dict[str, t.Any], page: str) -> None:
    assert report_html({**data, "hosts": list(reversed(data["hosts"]))}) == page


def test_every_host_is_counted_once(data: dict[str, t.Any]) -> None:
    report = collect(data)
    assert sum(report.verdicts.values()) == sum(level.total for level in report.levels) == len(report.hosts) == 120
    for verdict, count in report.verdicts.items():
        known = [host for host in data["hosts"] if (host.get("assessment") or {}).get("verdict", "no_answer") == verdict]
        assert len(known) == count


def test_what_stays_open_is_told_with_severity_hosts_date_and_remedy(data: dict[str, t.Any]) -> None:
    row = next(row for row in collect(data).open_cves if row.cve == "CVE-2026-32161")
    holders = {host["name"] for host in data["hosts"] if "CVE-2026-32161" in [r["cve"] for r in _residual(host)]}
    assert (row.severity, row.until, row.closed_by, row.hosts.total) == ("Critical", "2026-07-14", ("KB5087545",), len(holders))


def _residual(host: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    answer = host.get("assessment") or {}
    return [] if answer.get("verdict") == "blocked" else answer.get("residual", [])


def test_a_host_that_cannot_be_judged_is_told_apart_from_what_waits_for_the_baseline(data: dict[str, t.Any]) -> None:
    report = collect(data)
    blocked = [host["name"] for host in data["hosts"] if (host.get("assessment") or {}).get("verdict") == "blocked"]
    assert blocked
    assert list(report.undecided.shown) == sorted(blocked)
    assert report.undecided_open > 100
    assert not {name for row in report.open_cves for name in row.hosts.shown} & set(blocked)


def test_what_runs_where_is_told_with_processes_and_stop_times(data: dict[str, t.Any]) -> None:
    (payload,) = collect(data).payloads
    processes = [p for host in data["hosts"] for row in host.get("info", {}).get("payloads", []) for p in row["processes"]]
    assert payload.processes == len(processes)
    assert {group.program for group in payload.groups} == {"orders.exe", "worker.exe"}
    longest = max(p["stop_us"] for p in processes)
    assert max(group.longest_us or 0 for group in payload.groups) == longest
    wanting = [host for host in data["hosts"] if any(not row["in_force"] for row in _wanted(host))]
    assert payload.missing.total == len(wanting)


def _wanted(host: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    return t.cast("list[dict[str, t.Any]]", (host.get("assessment") or {}).get("payloads", {}).get("wanted", []))


def test_people_are_told_what_to_do_once_for_all_hosts_that_wait_for_it(data: dict[str, t.Any]) -> None:
    todos = {(todo.verdict, todo.what): todo for todo in collect(data).todos}
    off = todos["not_eligible", "Virtualization-based security must be running; it is off."]
    assert off.hosts.total == sum(host.get("info", {}).get("vbs", {}).get("status") == "off" for host in data["hosts"])
    assert "hotpatch.windows.enrollment" in off.remedy
    assert todos["no_answer", "The host does not answer."].remedy


def test_thousands_of_hosts_in_a_group_are_a_number_and_not_a_list(data: dict[str, t.Any]) -> None:
    many = [{**host, "name": f"{host['name']}-{copy}"} for copy in range(20) for host in data["hosts"]]
    report = collect({**data, "hosts": many})
    row = max(report.open_cves, key=lambda row: row.hosts.total)
    assert (len(row.hosts.shown), row.hosts.more) == (60, row.hosts.total - 60)


def test_bars_are_as_long_as_their_hosts_are_many_and_none_is_too_small_to_see(data: dict[str, t.Any]) -> None:
    drawn = bars(collect(data))
    longest = max(drawn, key=lambda bar: bar.level.total)
    for bar in drawn:
        for segment in bar.segments:
            assert segment.width == max(round(segment.count / longest.level.total * 560, 1), 4.0)


def test_the_time_line_puts_months_and_today_in_their_order(data: dict[str, t.Any]) -> None:
    report = collect(data)
    for calendar in report.calendars:
        line = timeline(calendar, report.generated.date())
        places = [mark.x for mark in line.marks]
        assert places == sorted(places)
        assert [mark.x <= line.today for mark in line.marks] == [mark.past for mark in line.marks]


def test_a_stale_catalog_is_said_at_the_top(data: dict[str, t.Any], page: str) -> None:
    host = next(host for host in data["hosts"] if host.get("assessment"))
    stale = {**host, "assessment": {**host["assessment"], "catalog": {"date": "2026-05-15", "month": "2026-05", "stale": True}}}
    assert "The catalog is out of date" in report_html({**data, "hosts": [stale]})
    assert "The catalog is out of date" not in page


def test_hosts_with_nothing_but_a_name_and_no_hosts_at_all_give_a_page() -> None:
    moment = "2026-05-16T22:10:00+00:00"
    assert "lonely" in report_html({"generated": moment, "hosts": [{"name": "lonely"}]})
    assert Document(report_html({"generated": moment, "hosts": []})).open == []


@pytest.mark.parametrize("bad", [{}, {"hosts": "web1"}, {"hosts": [{}]}, {"hosts": []}, {"generated": "soon", "hosts": []}])
def test_data_of_another_shape_is_refused(bad: dict[str, t.Any]) -> None:
    with pytest.raises(AnsibleFilterError):
        report_html(bad)


def test_every_verdict_and_action_has_its_words() -> None:
    assert set(VERDICTS) == {verdict.value for verdict in Verdict} | {"no_answer"}
    assert set(ACTIONS) == {kind.value for kind in ActionKind}
