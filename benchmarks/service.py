# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What do the clients of a real service notice while a payload is applied and reverted again and again?

Three kinds of time follow each other: nothing happens; the agent is called as often but changes nothing (its dry run), which costs a
small machine processor time that the service then lacks; the agent applies and reverts.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
import typing as t
from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload import build as builder
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload import cose
from benchmarks.programs import JSON, LIFETIME_S, NotMeasuredError
from lab import HostSpec, Lab
from lab.host import Host
from lab.load import Load, LoadResult
from lab.targets import build

KINDS: t.Final = ("undisturbed", "dry_run", "patching")
PAYLOAD: t.Final = "benchmark-orders"
CLIENTS: t.Final = 2
WARM_UP_REQUESTS: t.Final = 100
IDLE_S: t.Final = 0.05
MOST_TRIES: t.Final = 20


@dataclass
class Agent:
    """The agent of a host that trusts one payload and has it in its store."""

    host: Host
    program: str
    arguments: JSON
    given_up: int = 0

    @classmethod
    def ready(cls, host: Host) -> Agent:
        """Installs the agent, trusts a new key, and sends the payload that closes the holes of the service."""
        host.install_agent()
        image = str(host.registry_get(r"HKLM\SYSTEM\CurrentControlSet\Services\hotpatch-agent", "ImagePath"))
        agent = cls(host, image.removesuffix(" serve"), {})
        now, key = int(time.time()), cose.generate_key()
        meta = builder.PayloadMeta(PAYLOAD, 1, "Benchmark", now - 60, now + LIFETIME_S, "orders.dll")
        payload = cose.sign(builder.build(build("v1").dll.read_bytes(), build("v2").dll.read_bytes(), meta).content, key)
        public = base64.b64encode(cose.public_key_of(key)).decode()
        trusted = {"keys": [{"public_key": public, "name": "benchmarks", "not_after": None}], "revoked_keys": [], "revoked_payloads": []}
        agent.call("trust_set", trusted)
        digest = hashlib.sha256(payload).hexdigest()
        agent.run(f"put --sha256 {digest} --size {len(payload)}", payload)
        agent.arguments = {"payload": digest}
        return agent

    def run(self, command: str, stdin: bytes) -> JSON:
        """One run of the agent's program, and its result."""
        done = self.host.run(f"{self.program} {command}", stdin, timeout=60)
        if done.returncode != 0:
            raise NotMeasuredError(f"{command}: {done.stdout.decode(errors='replace')}")
        result: JSON = json.loads(done.stdout)["result"]
        return result

    def call(self, operation: str, arguments: JSON, *, dry_run: bool = False) -> JSON:
        """One operation."""
        request = {"protocol": 1, "operation": operation, "arguments": arguments, "dry_run": dry_run}
        return self.run("call", json.dumps(request).encode())

    def apply_and_revert(self) -> list[float]:
        """Once in and out; the stop times in microseconds of every process that was treated."""
        return self._surely("apply", self.arguments) + self._surely("revert", {"payload_id": PAYLOAD})

    def _surely(self, operation: str, arguments: JSON) -> list[float]:
        """A process that was busy, or whose stop would have passed its budget, was left as it was, and is tried again."""
        for _ in range(MOST_TRIES):
            report = self.call(operation, arguments)
            if report["summary"]["applied"] == 1:
                return [float(process["stop_us"]) for process in report["processes"]]
            if report["summary"]["busy"] != 1:
                break
            self.given_up += 1
        raise NotMeasuredError(f"{operation}: {[process['message'] for process in report['processes']]}")

    def try_twice(self) -> None:
        """Two calls that change nothing."""
        for _ in range(2):
            self.call("apply", self.arguments, dry_run=True)


def measure_service(lab: Lab, seconds: float, rounds: int) -> JSON:
    """Runs each kind of time ``rounds`` times for ``seconds``, in turn."""
    host = lab.create(HostSpec("service"))
    host.up()
    service = host.install_target()
    agent = Agent.ready(host)
    measured: dict[str, JSON] = {kind: {"requests": 0, "failures": 0, "seconds": 0.0, "latencies": [], "messages": []} for kind in KINDS}
    stops: list[list[float]] = []
    cycles = dict.fromkeys(KINDS, 0)
    for number in range(rounds):
        first = number % len(KINDS)  # each kind is first as often as the others
        for kind in KINDS[first:] + KINDS[:first]:

            def disturb(kind: str = kind) -> None:
                if kind == "patching":
                    stops.append(agent.apply_and_revert())
                elif kind == "dry_run":
                    agent.try_twice()
                else:
                    time.sleep(IDLE_S)
                cycles[kind] += 1

            _add(measured[kind], *_under_load(service.url, seconds, disturb))
    lab.destroy(host)
    return {"kinds": measured, "cycles": cycles, "stops": stops, "given_up": agent.given_up, "clients": CLIENTS}


def _under_load(url: str, seconds: float, disturb: Callable[[], None]) -> tuple[LoadResult, LoadResult, float]:
    """What the clients had seen before and after a time in which ``disturb`` was called without pause, and how long that was."""
    with Load(url, threads=CLIENTS) as load:
        before = load.wait_for(WARM_UP_REQUESTS)
        begin = time.monotonic()
        while time.monotonic() < begin + seconds:
            disturb()
        took = time.monotonic() - begin
        after = load.result
    return before, after, took


def _add(total: JSON, before: LoadResult, after: LoadResult, seconds: float) -> None:
    total["requests"] += after.requests - before.requests
    total["failures"] += after.failures - before.failures
    total["seconds"] += seconds
    total["messages"] += after.messages
    total["latencies"] += after.latencies[len(before.latencies) :]
