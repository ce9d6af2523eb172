# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cycle on a small fleet: judged, foretold, done ring by ring, reported, and nothing left to do."""

from __future__ import annotations

import hashlib
import threading
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import msu
from lab.host import Host
from lab.orders import OrdersService
from lab.pytest_plugin import MakeHost
from lab.wine import wait_until

from .controller import Controller, Json, Outcome
from .fixes import Fix, Key, leaks

pytestmark = [pytest.mark.lab, pytest.mark.slow]

NOW = "2026-05-16T22:10:00+00:00"
BASELINE, BASELINE_UBR = "KB5082063", 32690
HOTPATCH, HOTPATCH_UBR = "KB5087423", 32772
LEVEL = (r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion", "UBR")
RINGS = [{"name": "canary", "soak_hours": 0, "failure_budget": 0}, {"name": "broad", "soak_hours": 0, "failure_budget": 0}]


@dataclass
class Fleet:
    """A canary and a second host on the baseline with the vulnerable service, and one that missed the baseline."""

    canary: Host
    second: Host
    late: Host
    services: dict[str, OrdersService]
    catalog: Path
    report: Path
    key: Key

    @property
    def hosts(self) -> list[Host]:
        return [self.canary, self.second, self.late]

    def levels(self) -> list[object]:
        return [host.registry_get(*LEVEL) for host in self.hosts]

    def run(self, controller: Controller, *, check: bool = False, **variables: t.Any) -> Outcome:
        """Run the cycle as in the README."""
        rings: dict[str, Json] = {host.name: {"hotpatch_windows_ring": "canary" if host is self.canary else "broad"} for host in self.hosts}
        for name, service in self.services.items():
            rings[name]["hotpatch_windows_probe"] = {"url": f"{service.url}/health"}
        common = {
            "hotpatch_windows_now": NOW,
            "hotpatch_windows_catalogs": [str(self.catalog)],
            "hotpatch_windows_rings": RINGS,
            "hotpatch_windows_reboot": "if_required",
            "hotpatch_windows_report": str(self.report),
            "hotpatch_windows_trusted_keys": self.key.trusted,
        }
        return controller.play("hotpatch.windows.cycle", self.hosts, check=check, variables={**common, **variables}, host_variables=rings)


@pytest.fixture
def fleet(make_host: MakeHost, fix: Fix, key: Key, tmp_path: Path) -> Fleet:
    canary, second = (make_host(ubr=BASELINE_UBR, updates=(BASELINE,), enrolled=True) for _ in range(2))
    late = make_host(ubr=32230, updates=("KB5073379",), enrolled=True)
    services = {host.name: host.install_target() for host in (canary, second)}
    packages: dict[str, Json] = {}
    for kb, ubr, reboot in ((BASELINE, BASELINE_UBR, True), (HOTPATCH, HOTPATCH_UBR, False)):
        file = msu.build(tmp_path / f"{kb}.msu", kb=kb, ubr=ubr, reboot=reboot)
        content = file.read_bytes()
        packages[kb] = {"file": str(file), "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    catalog = fix.own_list(tmp_path / "own.yml", **packages)
    return Fleet(canary, second, late, services, catalog, tmp_path / "report.html", key)


def states(outcome: Outcome) -> dict[str, str]:
    assert "hotpatch_windows_cycle" in outcome.artifacts, outcome.output
    return {name: summary["state"] for name, summary in outcome.artifacts["hotpatch_windows_cycle"].items()}


def steps(outcome: Outcome, host: Host) -> list[str]:
    return t.cast(list[str], outcome.artifacts["hotpatch_windows_cycle"][host.name]["steps"])


def test_the_whole_cycle(fleet: Fleet, controller: Controller, fix: Fix) -> None:
    pids = {name: service.pid() for name, service in fleet.services.items()}

    foretold = fleet.run(controller, check=True).expect()
    assert fleet.levels() == [BASELINE_UBR, BASELINE_UBR, 32230]
    assert [leaks(service) for service in fleet.services.values()] == [[True, True]] * 2
    assert fleet.report.is_file()

    done = fleet.run(controller).expect()
    assert fleet.levels() == [HOTPATCH_UBR] * 3
    assert [leaks(service) for service in fleet.services.values()] == [[False, False]] * 2
    assert {name: service.pid() for name, service in fleet.services.items()} == pids
    assert [host.boot_count for host in fleet.hosts] == [1, 1, 2]
    assert set(states(done).values()) == {"done"}
    for host in fleet.hosts:
        assert steps(foretold, host) == steps(done, host)
        assert host.name in fleet.report.read_text()
    assert fix.id in fleet.report.read_text()

    again = fleet.run(controller).expect()
    assert again.count("changed") == 0
    assert [host.boot_count for host in fleet.hosts] == [1, 1, 2]
    assert fleet.run(controller, check=True).expect().count("changed") == 0

    reverted = controller.play("hotpatch.windows.revert", fleet.hosts[:2], variables={"payload_id": fix.id}).expect()
    assert reverted.count("changed") == 2
    assert [leaks(service) for service in fleet.services.values()] == [[True, True]] * 2


def test_a_canary_that_fails_stops_the_rings_behind_it(fleet: Fleet, controller: Controller) -> None:
    broken = {"url": f"{fleet.services[fleet.canary.name].url}/no-such-page", "retries": 0}
    outcome = fleet.run(controller, hotpatch_windows_probe=broken).expect("failed")
    assert states(outcome) == {fleet.canary.name: "failed", fleet.second.name: "waiting", fleet.late.name: "waiting"}
    assert fleet.levels()[1:] == [BASELINE_UBR, 32230]
    assert leaks(fleet.services[fleet.second.name]) == [True, True]
    assert outcome.artifacts["hotpatch_windows_cycle"][fleet.canary.name]["error"] == "probe_failed_before"


def test_without_leave_to_reboot_only_what_needs_none_is_done(fleet: Fleet, controller: Controller) -> None:
    outcome = fleet.run(controller, hotpatch_windows_reboot="never").expect()
    assert fleet.levels() == [HOTPATCH_UBR, HOTPATCH_UBR, 32230]
    assert [host.boot_count for host in fleet.hosts] == [1, 1, 1]
    summary = outcome.artifacts["hotpatch_windows_cycle"][fleet.late.name]
    assert summary["state"] == "waiting"
    assert "hotpatch_windows_reboot" in summary["reasons"][0]


def test_a_host_that_is_down_does_not_keep_the_others_from_their_report(fleet: Fleet, controller: Controller) -> None:
    fleet.late.power_cut()
    outcome = fleet.run(controller, hotpatch_windows_rings=[RINGS[0], {**RINGS[1], "failure_budget": 1}]).expect("failed")
    assert states(outcome) == {fleet.canary.name: "done", fleet.second.name: "done", fleet.late.name: "unreachable"}
    assert fleet.levels()[:2] == [HOTPATCH_UBR, HOTPATCH_UBR]
    assert fleet.late.name in fleet.report.read_text()


def test_a_host_that_goes_down_in_the_middle_is_reported_and_holds_up_the_rings_behind_it(fleet: Fleet, controller: Controller) -> None:
    def cut_when_the_agent_arrives() -> None:
        if wait_until(lambda: fleet.canary.path(r"C:\ProgramData\hotpatch.windows\agent").exists(), 240):
            fleet.canary.power_cut()

    cutter = threading.Thread(target=cut_when_the_agent_arrives)
    cutter.start()
    outcome = fleet.run(controller).expect("failed")
    cutter.join()
    assert states(outcome) == {fleet.canary.name: "unreachable", fleet.second.name: "waiting", fleet.late.name: "waiting"}
    assert fleet.levels()[1:] == [BASELINE_UBR, 32230]
    assert leaks(fleet.services[fleet.second.name]) == [True, True]
    assert fleet.canary.name in fleet.report.read_text()


def test_status_changes_nothing_and_reports(fleet: Fleet, controller: Controller) -> None:
    variables = {"hotpatch_windows_now": NOW, "hotpatch_windows_report": str(fleet.report)}
    outcome = controller.play("hotpatch.windows.status", fleet.hosts, variables=variables).expect()
    assert outcome.count("changed") == 0
    assert fleet.report.is_file()
    assert all(not host.path(r"C:\ProgramData\hotpatch.windows").exists() for host in fleet.hosts)
