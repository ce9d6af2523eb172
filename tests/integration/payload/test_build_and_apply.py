# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Payloads that the builder makes do in a running process what the new build does, and nothing stays when they are reverted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import targets
from lab.host import Host
from lab.load import Load
from lab.pytest_plugin import MakeHost
from lab.wine import Wine, give_up_override

from ..controller import Controller
from ..fixes import Key

pytestmark = [pytest.mark.lab, pytest.mark.slow]


@dataclass(frozen=True)
class Change:
    """A variant of the DLL, and a request that tells it from version 1."""

    version: str
    path: str
    before: bytes
    after: bytes


QUOTE = "/quote?sku=bolt-m6&quantity=10&customer=5"
CHANGES = [
    Change("v2", "/notes/-1", b'{"note": "override code 4471-0926"}\n', b"there is no such note\n"),
    Change("constant", "/echo?reference=me&length=3", b"me\0", b"your reference has 2 bytes, which is less than you say"),
    Change("pointers", "/echo?reference=me&length=9000", b"the value is too long\n", b"the value is longer than it may be\n"),
    Change("helper", "/echo?reference=me&length=3", b"me\0", b"me"),
    Change("switch", QUOTE, b'"discount": 0.0100', b'"discount": 0.0200'),
    Change("short", "/health", b'"maintenance": 0', b'"maintenance": 1'),
]


def built(controller: Controller, host: Host, key: Key, folder: Path, old: Path, new: Path, identity: str) -> Path:
    """A signed payload, made by the module."""
    dest = folder / f"{identity}.hpp1"
    arguments = {"old": str(old), "new": str(new), "dest": str(dest), "id": identity, "expires": "2030-03-31", "key": str(key.path)}
    result = controller.task("payload", arguments, host)
    assert "failed" not in result, result
    return dest


@pytest.mark.parametrize("padded", [True, False], ids=["padded", "plain"])
def test_each_kind_of_fix_works_in_the_running_service_and_leaves_it_again(
    padded: bool, ready_host: Host, controller: Controller, key: Key, tmp_path: Path
) -> None:
    service = ready_host.install_target(padded=padded)
    assert "failed" not in controller.task("agent", {"trusted_keys": key.trusted}, ready_host)
    pid = service.pid()
    changes = [change for change in CHANGES if padded or change.version != "short"]
    with Load(service.url, threads=4) as load:
        for change in changes:
            old, new = (targets.build(version, padded=padded).dll for version in ("v1", change.version))
            payload = built(controller, ready_host, key, tmp_path, old, new, f"orders-{change.version}")
            assert change.before in service.get(change.path)[1]
            applied = controller.task("hotpatch", {"src": str(payload)}, ready_host)
            assert [row["verdict"] for row in applied["processes"]] == ["applied"], applied
            assert change.after in service.get(change.path)[1], change.version
            if change.version != "switch":  # the load's clients know version 1's discounts only
                load.wait_for(50)
            reverted = controller.task("hotpatch", {"state": "reverted", "payload_id": f"orders-{change.version}"}, ready_host)
            assert reverted["changed"] is True, reverted
            assert change.before in service.get(change.path)[1], change.version
        seen = load.result
    wrong = [message for message in seen.messages if "'discount'" not in message]
    assert wrong == []
    assert service.pid() == pid


class Caller:
    """A process of the host that passes lines to throwing.dll and answers with its results."""

    def __init__(self, host: Host, program: Path) -> None:
        self._process = subprocess.Popen(
            [Wine.find().loader, str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=Wine.find().environment(host.prefix),
            cwd=program.parent,
            preexec_fn=give_up_override,
            text=True,
        )

    def ask(self, line: str) -> int:
        """The result for one line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """Ends the process by ending its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()


@pytest.fixture
def throwing(make_host: MakeHost) -> Iterator[tuple[Host, Caller, Path, Path]]:
    """A host with an agent, a process on it that has throwing.dll loaded, and the old and the new DLL."""
    host = make_host()
    host.install_agent()
    sources = Path(__file__).parents[2] / "unit" / "payload" / "sources"
    old = targets.build_library("throwing.dll", sources / "throwing.cpp")
    new = targets.build_library("throwing.dll", sources / "throwing.cpp", ("-O2", "-DLIMIT=50"))
    folder = host.path(r"C:\throwing")
    folder.mkdir()
    (folder / "throwing.dll").write_bytes(old.read_bytes())
    program = folder / "caller.exe"
    program.write_bytes(targets.build_library("caller.exe", sources / "caller.cpp").read_bytes())
    caller = Caller(host, program)
    yield host, caller, old, new
    caller.close()


def test_exceptions_are_caught_and_cleaned_up_in_new_code(
    throwing: tuple[Host, Caller, Path, Path], controller: Controller, key: Key, tmp_path: Path
) -> None:
    host, caller, old, new = throwing
    assert "failed" not in controller.task("agent", {"trusted_keys": key.trusted}, host)
    answers = {"7": 7, "80": 80, "": -2, "x": -3, "101": -1}
    assert {line: caller.ask(line) for line in answers} == answers
    payload = built(controller, host, key, tmp_path, old, new, "throwing-1")
    applied = controller.task("hotpatch", {"src": str(payload)}, host)
    assert [row["verdict"] for row in applied["processes"]] == ["applied"], applied
    for _ in range(3):
        assert {line: caller.ask(line) for line in answers} == answers | {"80": -1}
    assert controller.task("hotpatch", {"state": "reverted", "payload_id": "throwing-1"}, host)["changed"] is True
    assert {line: caller.ask(line) for line in answers} == answers
