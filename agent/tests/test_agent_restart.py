# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fifty patched processes stay as they are whatever becomes of the agent: restarted, killed, replaced by another build."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from agent_driver import SENT_AGENT, SERVICE, Agent, Json, sent, sha256, wait_for
from payload_driver import ID, Module, Signer, alerts, answers, leaks, payloads, section, staged, start_consoles

from lab import targets
from lab.lab import Lab
from lab.orders import OrdersService
from lab.spec import HostSpec

PROCESSES = 50
FIXED = [False] * len(targets.EXPLOITS)


@dataclass(frozen=True)
class Fleet:
    """Patched processes of one host, and what was said of them when they had been patched."""

    agent: Agent
    consoles: dict[int, OrdersService]
    modules: list[Module]
    told: dict[int, Json]

    def assert_untouched(self) -> None:
        """The same processes, the same bytes, the same answers; everything is known and nothing was done again."""
        assert {pid: answers(console) for pid, console in self.consoles.items()} == {pid: pid for pid in self.consoles}
        assert [module.read() for module in self.modules] == [module.patched for module in self.modules]
        assert leaks(next(iter(self.consoles.values()))) == FIXED
        assert told(self.agent) == self.told
        assert (section(self.agent, "coverage"), alerts(self.agent)) == ([], [])
        report = self.agent.call("apply", {"payload": payloads(self.agent)[0]["sha256"]}).result()
        assert (report["changed"], report["summary"]["already_applied"]) == (False, PROCESSES)
        assert {(row["verdict"], row["attempts"]) for row in report["processes"]} == {("already_applied", 0)}
        assert [module.read() for module in self.modules] == [module.patched for module in self.modules]


def told(agent: Agent) -> dict[int, Json]:
    """What host_info says of each process, with the time since when and how long it was stopped."""
    (payload,) = payloads(agent)
    assert payload["id"] == ID
    return {process["pid"]: process for process in payload["processes"]}


@pytest.fixture(scope="module")
def fleet(lab: Lab, fix: bytes, signer: Signer) -> Iterator[Fleet]:
    """One host for the tests of this file, which leave the processes as they found them."""
    host = lab.create(HostSpec("fleet"))
    host.up()
    agent = sent(host)
    agent.command("install").result()
    consoles = start_consoles(host, PROCESSES)
    report = agent.call("apply", staged(agent, fix, signer), timeout=120).result()
    assert report["summary"]["applied"] == PROCESSES
    assert {row["pid"] for row in report["processes"]} == set(consoles)
    yield Fleet(agent, consoles, Module.all_of(host, report["processes"]), told(agent))
    lab.destroy(host)


def round_of_watch(agent: Agent) -> None:
    """Waits until the service has looked at the processes once: its first round writes the metrics."""
    wait_for(agent.file(r"metrics\hotpatch_windows.prom").exists)


def test_a_restart_of_the_service_touches_no_process(fleet: Fleet) -> None:
    fleet.agent.host.service_stop(SERVICE)
    fleet.agent.file(r"metrics\hotpatch_windows.prom").unlink()
    assert [module.read() for module in fleet.modules] == [module.patched for module in fleet.modules]
    fleet.agent.host.service_start(SERVICE)
    round_of_watch(fleet.agent)
    fleet.assert_untouched()


def test_a_killed_service_touches_no_process(fleet: Fleet) -> None:
    pid = fleet.agent.host.service_pid(SERVICE)
    linux = next(process.linux_pid for process in fleet.agent.host.processes() if process.pid == pid)
    assert linux is not None
    os.kill(linux, signal.SIGKILL)
    wait_for(lambda: all(process.pid != pid for process in fleet.agent.host.processes()))
    fleet.agent.file(r"metrics\hotpatch_windows.prom").unlink()
    fleet.agent.host.service_start(SERVICE)
    round_of_watch(fleet.agent)
    fleet.assert_untouched()


def test_an_upgrade_of_the_agent_touches_no_process(fleet: Fleet) -> None:
    program = fleet.agent.host.path(SENT_AGENT)
    before = program.read_bytes()
    program.write_bytes(before + b"another build")
    fleet.agent.file(r"metrics\hotpatch_windows.prom").unlink()
    installed = fleet.agent.command("install").result()
    assert (installed["changed"], sha256(before) in installed["previous"]["path"]) == (True, True)
    reply = fleet.agent.call("boot_id")
    assert reply.document["agent"]["sha256"] == sha256(before + b"another build")
    round_of_watch(fleet.agent)
    fleet.assert_untouched()
