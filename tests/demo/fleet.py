# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three hosts in two rings, their service, and the inventory an administrator would write for them."""

from __future__ import annotations

import hashlib
import json
import socket
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from lab import Host, HostSpec, Lab, msu
from lab.orders import DLL, OrdersService
from lab.targets import EXPLOITS, build

REPOSITORY = Path(__file__).resolve().parents[2]

APRIL_BASELINE = ("KB5082063", 32690)
MAY_HOTPATCH = ("KB5087423", 32772)
MARCH_HOTPATCH = ("KB5078736", 32463)
# June 2026 has no hotpatch for Windows Server 2025. The number of its update is the lab's own: the package is, too.
JUNE_UPDATE = ("KB9900006", 32995)

SPECS = (
    HostSpec("web1"),
    HostSpec("web2", ubr=MARCH_HOTPATCH[1], updates=("KB5073379", MARCH_HOTPATCH[0])),
    HostSpec("web3", vbs="off"),
)
SMUGGLING = "a request with two lengths is believed"
ALL_HOLES = [*(exploit.name for exploit in EXPLOITS), SMUGGLING]
RINGS = {"web1": "canary", "web2": "broad", "web3": "broad"}


@dataclass(frozen=True)
class Server:
    """One host with the service it exists for."""

    host: Host
    service: OrdersService

    @property
    def name(self) -> str:
        """The host's name in the inventory."""
        return self.host.name

    def open_holes(self) -> list[str]:
        """What an attacker can do, by name; each is tried with one real request."""
        holes = [exploit.name for exploit in EXPLOITS if exploit.proves(self.service.get(exploit.path)[1])]
        return [*holes, SMUGGLING] if self._believes_second_length() else holes

    def _believes_second_length(self) -> bool:
        request = b"POST /quote HTTP/1.1\r\nHost: orders\r\nContent-Length: 40\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        with socket.create_connection((self.host.address, self.service.port), timeout=120) as connection:
            connection.sendall(request)
            return not connection.recv(4096).startswith(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n")

    def payloads(self) -> dict[str, bool]:
        """The payloads that the host holds, and whether each is in the service's process, as the host's agent finds them."""
        request = {"protocol": 1, "operation": "host_info", "arguments": {"sections": ["payloads"]}}
        program = str(self.host.registry_get(r"HKLM\SYSTEM\CurrentControlSet\Services\hotpatch-agent", "ImagePath")).removesuffix(" serve")
        answer = json.loads(self.host.run(f"{program} call", json.dumps(request).encode()).stdout)
        pid = self.service.pid()
        return {each["id"]: any(one["pid"] == pid for one in each["processes"]) for each in answer["result"]["payloads"]}

    def level(self) -> str:
        """Build and UBR as the host's registry has them."""
        key = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
        return f"{self.host.registry_get(key, 'CurrentBuild')}.{self.host.registry_get(key, 'UBR')}"

    def dll_sha256(self) -> str:
        """The SHA-256 of the service's DLL on the host's disk."""
        return hashlib.sha256(self.host.path(DLL).read_bytes()).hexdigest()


def sha256(path: Path) -> str:
    """The SHA-256 of a file on the controller."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def start(lab: Lab) -> list[Server]:
    """Boots the hosts with the vulnerable release of the service on each."""
    servers = []
    for spec in SPECS:
        host = lab.create(spec)
        host.up()
        servers.append(Server(host, host.install_target("v1")))
    return servers


def write_inventory(path: Path, servers: list[Server], lab: Lab, variables: Mapping[str, t.Any]) -> None:
    """Writes the inventory: the hosts of the lab, their rings and probes, and the fleet's variables."""
    inventory = lab.inventory()
    group = inventory["all"]["children"]["lab"]
    for server in servers:
        group["hosts"][server.name]["hotpatch_windows_ring"] = RINGS[server.name]
        group["hosts"][server.name]["hotpatch_windows_probe"] = {"url": f"{server.service.url}/health"}
    group["vars"] = dict(variables)
    path.write_text(yaml.safe_dump(inventory, sort_keys=False))


def build_packages(folder: Path) -> dict[str, dict[str, t.Any]]:
    """Makes the update packages of the quarter; gives the catalog's ``packages`` entries."""
    folder.mkdir(parents=True, exist_ok=True)
    fixed_dll = {DLL: build("v3").dll.read_bytes()}
    entries = {}
    for (kb, ubr), files, reboot in ((MAY_HOTPATCH, {}, False), (JUNE_UPDATE, fixed_dll, True)):
        path = msu.build(folder / f"{kb.lower()}.msu", kb=kb, ubr=ubr, files=files, reboot=reboot)
        entries[kb] = {"file": str(path), "sha256": sha256(path), "size": path.stat().st_size}
    return entries
