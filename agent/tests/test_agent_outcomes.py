# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The summary of an apply tells failed and inconsistent from all that is no danger (applied, refused and busy are tested beside theirs)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from agent_driver import SERVICE, Agent, Json, wait_for
from payload_driver import ID, Module, Signer, leaks, section, staged

from lab import targets
from lab.orders import OrdersService

VULNERABLE = [True] * len(targets.EXPLOITS)
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


@contextlib.contextmanager
def intruder(module: Module) -> Iterator[None]:
    """Someone who restores the first bytes of every patched function as often as he can."""
    entry = max(module.original)
    arguments = [str(module.memory), str(entry), module.original[entry].hex()]
    writer = subprocess.Popen([sys.executable, "-c", WRITER, *arguments])
    try:
        time.sleep(0.5)
        yield
    finally:
        writer.kill()
        writer.wait()


def test_without_room_for_the_journal_the_process_stays_as_it_was_and_counts_as_failed(resident: Agent, fix: bytes, signer: Signer) -> None:
    if os.geteuid() != 0:
        pytest.skip("a limit on the disk needs root")
    service = resident.host.install_target()
    resident.host.set_store_quota(4 * 1024 * 1024)
    arguments = {**staged(resident, fix, signer), "persist": False}
    filler = resident.file("filler")
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))
    pid = service.pid()
    report = resident.call("apply", arguments).result()
    assert (report["changed"], report["summary"]) == (False, summary(failed=1))
    assert [(row["verdict"], row["state"], row["remedy"]) for row in report["processes"]] == [("store_disk_full", "not_applied", "apply")]
    assert (leaks(service), service.pid()) == (VULNERABLE, pid)
    filler.unlink()
    assert resident.call("apply", arguments).result()["summary"] == summary(applied=1)
    assert leaks(service) != VULNERABLE
    resident.host.set_store_quota(None)


def test_a_process_that_could_be_neither_finished_nor_undone_counts_as_inconsistent(
    resident: Agent, service: OrdersService, fix: bytes, signer: Signer
) -> None:
    arguments = {**staged(resident, fix, signer), "persist": False}
    (row,) = resident.call("apply", arguments).result()["processes"]
    resident.call("revert", {"payload_id": ID}).result()
    module = Module.of(resident.host, row)
    with intruder(module):
        for _ in range(ATTEMPTS):
            report = resident.call("apply", arguments).result()
            if report["summary"]["inconsistent"]:
                break
            resident.call("revert", {"payload_id": ID})
    assert report["summary"] == summary(inconsistent=1)
    assert [(row["verdict"], row["state"], row["remedy"]) for row in report["processes"]] == [
        ("target_inconsistent", "inconsistent", "restart_service")
    ]
    # The remedy that was named helps, and the agent's next start settles what the journal still says.
    resident.host.service_stop("orders")
    resident.host.service_start("orders")
    assert resident.call("apply", arguments).result()["summary"] == summary(applied=1)
    resident.host.service_stop(SERVICE)
    resident.host.service_start(SERVICE)
    wait_for(lambda: [row["pid"] for row in section(resident, "payloads")[0]["processes"]] == [service.pid()])
