# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does the service cost while nothing happens? An hour's worth of rounds of the watch, run close together."""

from __future__ import annotations

import shutil
import time
import typing as t
from pathlib import Path

import pytest
from agent_driver import BUILD, SERVICE, SERVICE_KEY, Agent, wait_for
from payload_driver import Signer, staged

ROUNDS_OF_AN_HOUR = 1800
"""At the default of one round every two seconds."""
WARM_UP_ROUNDS = 100
LARGEST_PRIVATE_BYTES = 12 * 1024 * 1024
OBSERVE = r"C:\lab\observe.exe"
LISTINGS_OF_A_ROUND = 10
"""Measured: 1.4 with nothing in force, 3 with a payload in force in one process."""


class Usage(t.NamedTuple):
    """What a process holds."""

    handles: int
    threads: int
    private_bytes: int


def usage(agent: Agent, linux_pid: int) -> Usage:
    """Handles and threads as Windows counts them; private memory as Linux does, because Wine does not tell it of other processes.

    Private bytes are what a process has written. Unchanged pages of a library are nobody's own, even while one process alone has
    loaded it.
    """
    done = agent.host.run([OBSERVE, str(agent.host.service_pid(SERVICE))])
    assert done.returncode == 0
    handles, threads = map(int, done.stdout.split())
    lines = Path(f"/proc/{linux_pid}/smaps_rollup").read_text().splitlines()
    return Usage(handles, threads, 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty:")))


def listing_ns(agent: Agent) -> int:
    """Processor time of one listing of the host's processes."""
    done = agent.host.run([OBSERVE], timeout=120)
    assert done.returncode == 0
    return int(done.stdout)


def processor_ns(linux_pid: int) -> int:
    """Processor time of all threads of a process so far."""
    tasks = Path(f"/proc/{linux_pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def rounds(agent: Agent) -> int:
    """How many rounds the watch has made; the file is written again when it is gone."""
    metrics = agent.file(r"metrics\hotpatch_windows.prom")
    metrics.unlink(missing_ok=True)
    wait_for(metrics.exists)
    samples = dict(line.rsplit(" ", 1) for line in metrics.read_text().splitlines() if not line.startswith("#"))
    return int(samples["hotpatch_windows_watch_rounds_total"])


def wait_for_rounds(agent: Agent, number: int) -> None:
    """Asks now and then only: every answer makes one round dearer."""
    end = time.monotonic() + 1200
    while rounds(agent) < number:
        assert time.monotonic() < end
        time.sleep(2)


@pytest.mark.slow
def test_an_idle_service_is_small_and_cheap_and_does_not_grow(resident: Agent, fix: bytes, signer: Signer) -> None:
    host = resident.host
    shutil.copyfile(BUILD / "observe.exe", host.path(OBSERVE))
    host.registry_set(rf"{SERVICE_KEY}\Parameters", "WatchIntervalMs", 10)
    service = host.install_target()
    # Wakes the watch as well, which reads its interval anew.
    assert resident.call("apply", staged(resident, fix, signer)).result()["summary"]["applied"] == 1
    linux = next(process.linux_pid for process in host.processes() if process.pid == host.service_pid(SERVICE))
    assert linux is not None
    wait_for_rounds(resident, WARM_UP_ROUNDS)
    first_round, first_usage, first_time = rounds(resident), usage(resident, linux), processor_ns(linux)
    wait_for_rounds(resident, first_round + ROUNDS_OF_AN_HOUR)
    last_round, last_usage, last_time = rounds(resident), usage(resident, linux), processor_ns(linux)
    round_ns, one_listing_ns = (last_time - first_time) / (last_round - first_round), listing_ns(resident)
    made = last_round - first_round
    print(f"{made} rounds of {round_ns / 1000:.0f} us, a listing {one_listing_ns / 1000:.0f} us, {first_usage}, {last_usage}")
    assert last_usage.private_bytes < LARGEST_PRIVATE_BYTES
    assert last_usage.handles <= first_usage.handles
    assert last_usage.threads <= first_usage.threads
    assert round_ns < LISTINGS_OF_A_ROUND * one_listing_ns
    assert service.pid()
