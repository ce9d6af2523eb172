# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The acts of the demo. Whatever changes a host is a playbook of the collection; what is claimed is read from the hosts themselves."""

from __future__ import annotations

import datetime
import json
import typing as t
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from demo import fleet
from demo.fleet import JUNE_UPDATE, MAY_HOTPATCH, Server
from demo.stage import Stage
from lab import Lab
from lab.load import Load
from lab.targets import build, build_program

# The evening after May's Patch Tuesday, and two moments after June's: a Wednesday noon, and the Saturday night of the window.
IN_MAY = "2026-05-16T22:10:00+00:00"
IN_JUNE_AT_NOON = "2026-06-10T12:00:00+00:00"
IN_JUNE_AT_NIGHT = "2026-06-13T22:10:00+00:00"
POLICY = {"windows": {"night": {"weekdays": ["saturday"], "time": "22:00", "timezone": "UTC", "duration_minutes": 240}}}
RING_LIST = [
    {"name": "canary", "soak_hours": 0, "failure_budget": 0, "window": "night"},
    {"name": "broad", "soak_hours": 0, "failure_budget": 0, "window": "night"},
]
ENOUGH_REQUESTS = 200


@dataclass(frozen=True)
class Files:
    """What the administrator and the security engineer keep on the controller."""

    folder: Path

    @property
    def inventory(self) -> Path:
        """The inventory."""
        return self.folder / "inventory.yml"

    @property
    def own_list(self) -> Path:
        """Own fixes, and where packages lie."""
        return self.folder / "own.yml"

    @property
    def key(self) -> Path:
        """The private key that signs payloads."""
        return self.folder / "signing.pem"

    @property
    def report(self) -> Path:
        """The page that every run of the cycle writes anew."""
        return self.folder / "hotpatch-report.html"

    def payload(self, name: str) -> Path:
        """A built payload."""
        return self.folder / f"{name}.hpp1"


class Story:
    """Tells the quarter from beginning to end."""

    def __init__(self, stage: Stage, files: Files, lab: Lab) -> None:
        self._stage = stage
        self._files = files
        self._lab = lab
        self._servers: list[Server] = []
        self._own: dict[str, t.Any] = {"schema": 1, "fixes": []}

    def tell(self) -> None:
        """Every act in its order; :class:`demo.stage.DemoError` when a claim does not hold."""
        self._set_up()
        self._enrol()
        self._build_payloads()
        self._assess()
        self._canary_and_ring_two()
        self._again()
        self._fix_that_cannot_be_hotpatched()
        self._june()
        self._stage.summary(self._files.report)

    # -- the acts ------------------------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        self._stage.act(
            "Three Windows Server 2025 hosts in two rings",
            "web1 (canary) is on April's baseline. web2 missed it. web3 has virtualization-based security switched off.",
            "Each runs the service 'orders', whose DLL and program have memory-safety bugs that anyone can exploit.",
        )
        self._servers = fleet.start(self._lab)
        self._own["packages"] = fleet.build_packages(self._files.folder / "packages")
        self._write_key()
        self._write_own_list()
        variables = {
            "hotpatch_windows_catalogs": [str(self._files.own_list)],
            "hotpatch_windows_policy": POLICY,
            "hotpatch_windows_rings": RING_LIST,
            "hotpatch_windows_trusted_keys": [{"name": "the demo's signing key", "public_key": self._public_key()}],
            "hotpatch_windows_report": str(self._files.report),
            "hotpatch_windows_report_title": "Quarter of the demo fleet",
            "hotpatch_windows_reboot_timeout": 300,
        }
        fleet.write_inventory(self._files.inventory, self._servers, self._lab, variables)
        for server in self._servers:
            self._stage.say(f"{server.name}: {server.level()}, orders at {server.service.url}, process {server.service.pid()}")
            self._stage.prove(
                f"{server.name} is vulnerable", len(server.open_holes()) == len(fleet.ALL_HOLES), "; ".join(server.open_holes())
            )

    def _enrol(self) -> None:
        self._stage.act("Enrol", "Installs the agent, sets the registry values, and says which prerequisite each host lacks.")
        run = self._playbook("enroll", IN_MAY)
        self._stage.prove("web3 is told that VBS does not run, and what to do", "irtualization" in run.output)
        for server in self._servers:
            self._stage.prove(f"{server.name}: the agent's service runs", server.host.service_state("hotpatch-agent") == "running")

    def _build_payloads(self) -> None:
        self._stage.act(
            "Two payloads from the old and the fixed builds",
            "Functions that changed are found in the machine code, carried, proven, signed.",
        )
        self._build("orders-dll-2026-05", build("v1").dll, build("v2").dll)
        self._build("orders-exe-2026-05", build_program("x1"), build_program("x2"))
        for name, module, contained in (
            ("orders-dll-2026-05", "orders.dll", [JUNE_UPDATE[0]]),
            ("orders-exe-2026-05", "orders.exe", []),
        ):
            self._own["fixes"].append(
                {
                    "id": name,
                    "title": f"Memory safety in {module}",
                    "cves": [],
                    "severity": "Critical",
                    "cvss": 9.8,
                    "exploited": True,
                    "module": module,
                    "products": [],
                    "payload": self._payload_entry(name),
                    "refusal": None,
                    "contained_in": contained,
                }
            )
        self._write_own_list()

    def _assess(self) -> None:
        self._stage.act("Assess: what would the cycle do, and why?", "Nothing changes. What it says is compared with what it then does.")
        before = [(server.service.pid(), server.level(), server.open_holes()) for server in self._servers]
        check = self._playbook("cycle", IN_MAY, "--check", "--diff")
        after = [(server.service.pid(), server.level(), server.open_holes()) for server in self._servers]
        self._stage.prove("--check changed nothing", before == after)
        self._promised = {host: counts[1] > 0 for host, counts in check.recap.items() if host != "localhost"}

    def _canary_and_ring_two(self) -> None:
        self._stage.act("The cycle of May: canary first, then ring two, all services under load")
        pids = [server.service.pid() for server in self._servers]
        loads = [Load(server.service.url, threads=1) for server in self._servers]
        with loads[0], loads[1], loads[2]:
            for load in loads:
                load.wait_for(ENOUGH_REQUESTS)
            run = self._playbook("cycle", IN_MAY)
            for load in loads:
                load.wait_for(ENOUGH_REQUESTS)
        self._stage.prove(
            "--check told the truth", self._promised == {host: counts[1] > 0 for host, counts in run.recap.items() if host != "localhost"}
        )
        for server, pid, load in zip(self._servers, pids, loads, strict=True):
            seen = load.result
            self._stage.prove(f"{server.name}: the exploits read nothing any more", server.open_holes() == [])
            self._stage.prove(f"{server.name}: same process", server.service.pid() == pid, f"id {pid}")
            self._stage.prove(
                f"{server.name}: no request failed",
                seen.failures == 0,
                f"{seen.requests} requests, {'; '.join(seen.messages)}".rstrip(", "),
            )
        self._stage.prove(
            "web1 is on May's hotpatch, without a reboot",
            self._is_at(0, MAY_HOTPATCH) and self._servers[0].host.boot_count == 1,
            self._servers[0].level(),
        )
        self._stage.prove("web2 is told that it missed April's baseline", "has not taken the baseline" in run.output)
        self._stage.prove(
            "web3 is told that virtualization-based security is missing, and how to get it",
            "vbs_running: Run hotpatch.windows.enrollment" in run.output,
        )

    def _again(self) -> None:
        self._stage.act("The same again: a second run changes nothing")
        run = self._playbook("cycle", IN_MAY)
        self._stage.prove("The second run of the cycle changed nothing", run.changed == 0)
        self._stage.prove("The second run of the enrolment changed nothing", self._playbook("enroll", IN_MAY).changed == 0)

    def _fix_that_cannot_be_hotpatched(self) -> None:
        self._stage.act("June: a fix that cannot be hotpatched", "It changes a structure that running code has laid out in memory already.")
        run = self._stage.playbook(
            "build_payload",
            self._files.inventory,
            {},
            "-e",
            json.dumps(self._build_variables("orders-layout", build("v1").dll, build("v3").dll)),
            expect=2,
        )
        self._stage.prove("The builder refuses it and says why", "build_layout_changed" in run.output)
        self._own["fixes"].append(
            {
                "id": "orders-layout",
                "title": "Staff's orders are shown to everyone",
                "cves": [],
                "severity": "Critical",
                "cvss": 9.1,
                "exploited": True,
                "module": "orders.dll",
                "products": [],
                "payload": None,
                "refusal": {"code": "build_layout_changed", "text": "The layout of the ring of recent orders changed."},
                "contained_in": [JUNE_UPDATE[0]],
            }
        )
        kb, ubr = JUNE_UPDATE
        self._own["products"] = {
            "windows_server_2025": {
                "2026-06": {
                    "released": "2026-06-09",
                    "cves_known": False,
                    "updates": [{"kb": kb, "kind": "lcu", "build": f"26100.{ubr}", "supersedes": []}],
                    "related": [],
                    "vulnerabilities": [],
                    "notes": [],
                }
            }
        }
        self._write_own_list()

    def _june(self) -> None:
        self._stage.act("The cycle of June: no hotpatch this month, so the cumulative update and a reboot inside the window")
        boots = [server.host.boot_count for server in self._servers]
        noon = self._playbook("cycle", IN_JUNE_AT_NOON, "-e", "hotpatch_windows_reboot=if_required")
        self._stage.prove(
            "At noon the window is closed: nothing is installed, nothing reboots",
            noon.changed == 0 and boots == [server.host.boot_count for server in self._servers],
        )
        self._playbook("cycle", IN_JUNE_AT_NIGHT, "-e", "hotpatch_windows_reboot=if_required")
        fixed = build("v3").dll
        for server, boot in zip(self._servers, boots, strict=True):
            name = server.name
            self._stage.prove(
                f"{name}: rebooted once, and is on June's update",
                server.host.boot_count == boot + 1 and self._is_at(self._servers.index(server), JUNE_UPDATE),
                server.level(),
            )
            self._stage.prove(f"{name}: runs the fixed DLL of the update", server.dll_sha256() == fleet.sha256(fixed))
            self._stage.prove(f"{name}: still no exploit works", server.open_holes() == [])
            self._stage.prove(
                f"{name}: the payload the update contains is dropped, the other one is in force again",
                server.payloads() == {"orders-exe-2026-05": True},
            )
        again = self._playbook("cycle", IN_JUNE_AT_NIGHT, "-e", "hotpatch_windows_reboot=if_required")
        self._stage.prove("The second run changed nothing", again.changed == 0)
        self._stage.prove(
            "The report is one page that needs nothing else", self._files.report.read_text().lstrip().lower().startswith("<!doctype html>")
        )

    # -- helpers -------------------------------------------------------------------------------------------------------------

    def _playbook(self, name: str, now: str, *options: str, expect: int = 0) -> t.Any:
        return self._stage.playbook(name, self._files.inventory, {"hotpatch_windows_now": now}, *options, expect=expect)

    def _is_at(self, index: int, level: tuple[str, int]) -> bool:
        return self._servers[index].level() == f"26100.{level[1]}"

    def _build(self, name: str, old: Path, new: Path) -> None:
        self._stage.playbook("build_payload", self._files.inventory, {}, "-e", json.dumps(self._build_variables(name, old, new)))
        self._stage.prove(f"Payload {name}", self._files.payload(name).exists(), f"{self._files.payload(name).stat().st_size} bytes")

    def _build_variables(self, name: str, old: Path, new: Path) -> dict[str, t.Any]:
        expires = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=90)
        return {
            "payload_old": str(old),
            "payload_new": str(new),
            "payload_dest": str(self._files.payload(name)),
            "payload_id": name,
            "payload_expires": expires.isoformat(),
            "payload_key": str(self._files.key),
        }

    def _payload_entry(self, name: str) -> dict[str, t.Any]:
        path = self._files.payload(name)
        return {"file": str(path), "sha256": fleet.sha256(path), "sequence": 1}

    def _write_own_list(self) -> None:
        self._files.own_list.write_text(yaml.safe_dump(self._own, sort_keys=False))

    def _write_key(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._files.key.touch(mode=0o600)
        self._files.key.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )

    def _public_key(self) -> str:
        key = serialization.load_pem_private_key(self._files.key.read_bytes(), None)
        return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
