# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing of a lab is left when whoever runs it dies, however suddenly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import rpc
from lab.host import REPOSITORY
from lab.quota import is_limited
from lab.wine import living_processes, processes_of_prefix, wait_until

OWNER = """
import sys, time
from pathlib import Path
from lab import HostSpec, Lab

lab = Lab(Path(sys.argv[1]))
lab.start()
host = lab.create(HostSpec("crash"))
host.up()
if len(sys.argv) > 2:
    host.set_store_quota(65536)
print("ready", flush=True)
time.sleep(600)
"""
GONE_S = 60


class Owner:
    """A process that runs a lab with one host."""

    def __init__(self, root: Path, *extra: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}
        self.process = subprocess.Popen([sys.executable, "-c", OWNER, str(root), *extra], stdout=subprocess.PIPE, env=environment)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"
        self.root = root
        self.prefix = root / "hosts" / "crash" / "prefix"
        self.guardian = int(rpc.call(root / rpc.GUARDIAN_SOCKET, {"operation": "list"})["pid"])
        self.host = int(rpc.call(root / "hosts" / "crash" / rpc.CONTROL_SOCKET, {"operation": "status"})["pid"])

    def leaves_nothing(self) -> bool:
        return wait_until(
            lambda: not processes_of_prefix(self.prefix) and not {self.guardian, self.host} & living_processes().keys(),
            GONE_S,
            interval=0.1,
        )


@pytest.fixture
def owner(lab_root: Path) -> Iterator[Owner]:
    made = Owner(lab_root)
    assert len(processes_of_prefix(made.prefix)) > 3
    yield made
    made.process.kill()
    made.process.wait()
    assert made.leaves_nothing()


def test_nothing_is_left_when_the_owner_is_killed(owner: Owner) -> None:
    os.kill(owner.process.pid, signal.SIGKILL)
    assert owner.leaves_nothing()


def test_nothing_is_left_when_the_guardian_is_killed(owner: Owner) -> None:
    os.kill(owner.guardian, signal.SIGKILL)
    assert owner.leaves_nothing()


def test_the_guardian_ends_the_windows_of_a_host_whose_own_process_is_killed(owner: Owner) -> None:
    os.kill(owner.host, signal.SIGKILL)
    assert wait_until(lambda: not processes_of_prefix(owner.prefix), GONE_S, interval=0.1)
    assert owner.guardian in living_processes()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_no_mount_is_left_when_the_owner_is_killed(lab_root: Path) -> None:
    owner = Owner(lab_root, "quota")
    store = owner.prefix / "drive_c" / "ProgramData" / "hotpatch.windows"
    assert is_limited(store)
    os.kill(owner.process.pid, signal.SIGKILL)
    owner.process.wait()
    assert owner.leaves_nothing()
    assert not is_limited(store)
