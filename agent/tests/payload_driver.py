# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What do tests of payloads share? A signer, the fix for the lab's service, and the questions they ask of host and service."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from agent_driver import BUILD, Agent, Json, sha256, wait_for

from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload import build as builder
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload import cose
from lab import targets
from lab.host import Host
from lab.orders import EXE, OrdersService
from lab.wine import Wine, give_up_override

ID = "orders-2026-11"
CVE = "CVE-2026-31337"
PARKED = Path(__file__).parent / "parked.cpp"


@dataclass(frozen=True)
class Signer:
    """A signing key."""

    private: bytes

    @cached_property
    def public(self) -> bytes:
        return cose.public_key_of(self.private)

    def trusted(self, **changes: object) -> Json:
        """The arguments of trust_set that make a host trust this key alone."""
        key: Json = {"public_key": base64.b64encode(self.public).decode(), "name": "tests", "not_after": None}
        return {"keys": [key], "revoked_keys": [], "revoked_payloads": [], **changes}

    def fix(self, *, sequence: int = 1, lifetime: int = 10_000, identity: str = ID) -> bytes:
        """The signed payload that closes the holes of the lab's service."""
        old, new = targets.build("v1").dll, targets.build("v2").dll
        return self.payload(old, new, sequence=sequence, lifetime=lifetime, identity=identity)

    def payload(self, old: Path, new: Path, *, sequence: int = 1, lifetime: int = 10_000, identity: str = ID) -> bytes:
        """The signed payload that makes the new build of a module of the old one."""
        now = int(time.time())
        meta = builder.PayloadMeta(identity, sequence, "Over-read in the echo request", now - 100, now + lifetime, old.name, (CVE,))
        return cose.sign(builder.build(old.read_bytes(), new.read_bytes(), meta).content, self.private)


def leaks(service: OrdersService) -> list[bool]:
    """Which of the exploits work at the moment."""
    return [exploit.proves(service.get(exploit.path)[1]) for exploit in targets.EXPLOITS]


def staged(agent: Agent, fix: bytes, signer: Signer) -> Json:
    """The arguments that apply the fix, once the host has and trusts it."""
    agent.call("trust_set", signer.trusted()).result()
    agent.put(fix).result()
    return {"payload": sha256(fix)}


def section(agent: Agent, name: str) -> list[Json]:
    """One section of host_info that is a list."""
    found: list[Json] = agent.call("host_info", {"sections": [name]}).result()[name]
    return found


def payloads(agent: Agent) -> list[Json]:
    """What is in force, or must be."""
    return section(agent, "payloads")


def alerts(agent: Agent) -> list[str]:
    """The codes of the alerts that stand."""
    return [alert["code"] for alert in section(agent, "alerts")]


@dataclass(frozen=True)
class Module:
    """A patched module of a process as Linux sees it: its sites can be read and written behind everybody's back."""

    memory: Path
    patched: dict[int, bytes]
    """What the agent put at each site, by address."""
    original: dict[int, bytes]

    @staticmethod
    def all_of(host: Host, processes: list[Json]) -> list[Module]:
        """From the processes of an apply's report."""
        linux = {each.pid: each.linux_pid for each in host.processes()}
        return [Module(Path(f"/proc/{linux[process['pid']]}/mem"), {}, {}).as_in(process) for process in processes]

    @staticmethod
    def of(host: Host, process: Json) -> Module:
        """From one process of an apply's report."""
        return Module.all_of(host, [process])[0]

    def as_in(self, process: Json) -> Module:
        """With the sites of another report about the same process."""
        base, sites = int(process["base"], 16), process["sites"]
        assert sites
        patched = {base + site["rva"]: bytes.fromhex(site["after"]) for site in sites}
        return Module(self.memory, patched, {base + site["rva"]: bytes.fromhex(site["before"]) for site in sites})

    def read(self) -> dict[int, bytes]:
        """What stands at the sites now."""
        with self.memory.open("rb", buffering=0) as memory:
            return {address: os.pread(memory.fileno(), len(data), address) for address, data in self.patched.items()}

    def write(self, sites: dict[int, bytes]) -> None:
        """Writes as an intruder would, or someone who debugs."""
        with self.memory.open("r+b", buffering=0) as memory:
            for address, data in sites.items():
                assert os.pwrite(memory.fileno(), data, address) == len(data)


def start_consoles(host: Host, count: int) -> dict[int, OrdersService]:
    """The lab's server program as ordinary processes of a host, beside or without the service: each by its process id."""
    program = host.path(EXE)
    program.parent.mkdir(parents=True, exist_ok=True)
    for source in (targets.build("v1").exe, targets.build("v1").dll):
        if not (program.parent / source.name).exists():
            shutil.copyfile(source, program.parent / source.name)
    shutil.copyfile(BUILD / "fleet.exe", host.path(r"C:\lab\fleet.exe"))
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((host.address, 0))
        ports = [each.getsockname()[1] for each in sockets]
    # The processes keep this program's standard error open, for whose end the call would wait; their own answers say that they run.
    fleet = [r"C:\lab\fleet.exe", EXE, "--console --workers 1 --port", *map(str, ports)]
    threading.Thread(target=host.run, args=(fleet,), daemon=True).start()
    consoles = [OrdersService(host, port) for port in ports]
    return {wait_for(functools.partial(answers, console), timeout=120): console for console in consoles}


def answers(service: OrdersService) -> int:
    """The process id that the program itself tells, 0 while it does not listen."""
    try:
        status, body = service.get("/health")
    except OSError:
        return 0
    assert status == 200
    return int(json.loads(body)["pid"])


class Parked:
    """A process that loads a DLL when it is told to, and in whose function one of its threads stays as long as a test wants."""

    def __init__(self, host: Host) -> None:
        folder = host.path(r"C:\parked")
        folder.mkdir(exist_ok=True)
        (folder / "parked.dll").write_bytes(self.build().read_bytes())
        (folder / "parked.exe").write_bytes(targets.build_library("parked.exe", PARKED, ("-O2", "-DPROGRAM")).read_bytes())
        self._process = subprocess.Popen(
            [Wine.find().loader, r"C:\parked\parked.exe"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=Wine.find().environment(host.prefix),
            cwd=folder,
            preexec_fn=give_up_override,
            text=True,
        )
        self.pid = int(self._line())

    @staticmethod
    def build(step: int = 1) -> Path:
        """One build of the DLL; a fixed one has another step."""
        return targets.build_library("parked.dll", PARKED, ("-O2", "-fno-optimize-sibling-calls", f"-DSTEP={step}"))

    @staticmethod
    def fix(signer: Signer) -> bytes:
        """The payload that makes step 2 of step 1."""
        return signer.payload(Parked.build(), Parked.build(2), identity="parked-1")

    def ask(self, line: str) -> str:
        """The answer to a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._line()

    def close(self) -> None:
        """Ends the process by ending its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        finally:
            self._process.kill()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
