# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The summary of an apply tells what failed and was undone from the one bad outcome (the others are tested beside what they are about)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from agent_driver import SERVICE, Agent, Json, wait_for
from payload_driver import ID, Module, Parked, Signer, section, staged

from lab.orders import OrdersService

ATTEMPTS = 40
# Writes the same bytes at one address for ever: a process of its own, so that nothing of the test holds it up.
WRITER = """
import os, sys
memory = os.open(sys.argv[1], os.O_RDWR)
address, data = int(sys.argv[2]), bytes.fromhex(sys.argv[3])
while True:
    os.pwrite(memory, data, address)
"""


def summary(**counts: int) -> Json:
    return {"applied": 0, "already_applied": 0, "refused": 0, "busy": 0, "failed": 0, "inconsistent": 0, **counts}


class Intruder:
    """Someone who restores the first bytes of a function as often as he can, whenever he is let."""

    def __init__(self, module: Module) -> None:
        entry = max(module.original)
        arguments = [str(module.memory), str(entry), module.original[entry].hex()]
        self._writers = [subprocess.Popen([sys.executable, "-c", WRITER, *arguments]) for _ in range(2)]

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """He writes meanwhile only."""
        for writer in self._writers:
            writer.send_signal(signal.SIGCONT)
        try:
            yield
        finally:
            for writer in self._writers:
                writer.send_signal(signal.SIGSTOP)
                os.waitpid(writer.pid, os.WUNTRACED)  # a write on its way is done by then

    def close(self) -> None:
        """Ends him."""
        for writer in self._writers:
            writer.kill()
            writer.wait()


@pytest.fixture
def patchable(resident: Agent, service: OrdersService, fix: bytes, signer: Signer) -> tuple[Json, Module]:
    """The arguments of an apply, and the module as an apply changes it."""
    arguments = {**staged(resident, fix, signer), "persist": False}
    (row,) = resident.call("apply", arguments).result()["processes"]
    resident.call("revert", {"payload_id": ID}).result()
    assert service.pid() == row["pid"]
    return arguments, Module.of(resident.host, row)


@pytest.fixture
def intruder(patchable: tuple[Json, Module]) -> Iterator[Intruder]:
    """Not let to write yet."""
    started = Intruder(patchable[1])
    with started.writing():
        time.sleep(0.5)  # the writers are writing by now, what stands there anyway
    yield started
    started.close()


def test_a_process_that_could_be_neither_finished_nor_undone_counts_as_inconsistent(
    resident: Agent, service: OrdersService, patchable: tuple[Json, Module], intruder: Intruder
) -> None:
    arguments, module = patchable
    for _ in range(ATTEMPTS):
        with intruder.writing():
            report = resident.call("apply", arguments).result()
        (row,) = report["processes"]
        if row["verdict"] != "applied":
            break
        module.as_in(row).write(module.as_in(row).patched)  # he came too late
        assert resident.call("revert", {"payload_id": ID}).result()["summary"] == summary(applied=1)
    assert report["summary"] == summary(inconsistent=1)
    assert (row["verdict"], row["state"], row["remedy"]) == ("target_inconsistent", "inconsistent", "restart_service")
    # The remedy that was named helps, and the agent's next start settles what the journal still says.
    resident.host.service_stop("orders")
    resident.host.service_start("orders")
    assert resident.call("apply", arguments).result()["summary"] == summary(applied=1)
    resident.host.service_stop(SERVICE)
    resident.host.service_start(SERVICE)
    wait_for(lambda: [process["pid"] for process in section(resident, "payloads")[0]["processes"]] == [service.pid()])


def test_what_failed_and_was_undone_counts_as_failed_and_succeeds_later(resident: Agent, signer: Signer) -> None:
    arguments = {**staged(resident, Parked.fix(signer), signer), "persist": False}
    parked = Parked(resident.host)
    try:
        assert parked.ask("load") == "loaded"
        assert parked.ask("fill") == "full"
        report = resident.call("apply", arguments).result()
        assert report["summary"] == summary(failed=1)
        (row,) = report["processes"]
        assert (row["pid"], row["verdict"], row["state"]) == (parked.pid, "target_no_memory_near", "not_applied")
        assert (row["remedy"], row["stop_us"]) == ("restart_process", 0)
        assert parked.ask("work") == "11"
        assert section(resident, "payloads") == []
        assert parked.ask("free") == "free"
        assert resident.call("apply", arguments).result()["summary"] == summary(applied=1)
        assert parked.ask("work") == "22"
    finally:
        parked.close()
