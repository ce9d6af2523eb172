# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own Windows service (lab.targets) on a host: what payloads are applied to."""

from __future__ import annotations

import http.client
import shutil
import typing as t

from lab import targets
from lab.wine import LabError

if t.TYPE_CHECKING:
    from lab.host import Host

NAME = "orders"
FOLDER = r"C:\Program Files\Orders"
EXE = FOLDER + r"\orders.exe"
DLL = FOLDER + r"\orders.dll"
REQUEST_S = 120.0


class OrdersService:
    """The service "orders", installed and running."""

    def __init__(self, host: Host, port: int) -> None:
        self._host = host
        self.name = NAME
        self.port = port
        self.url = f"http://{host.address}:{port}"
        self.exe = EXE
        self.dll = DLL

    def pid(self) -> int:
        """Its Windows process id, 0 when it does not run."""
        return self._host.service_pid(self.name)

    def get(self, path: str) -> tuple[int, bytes]:
        """One GET request on a connection of its own: status and body."""
        connection = http.client.HTTPConnection(self._host.address, self.port, timeout=REQUEST_S)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def install(host: Host, port: int, version: str, *, padded: bool) -> OrdersService:
    """Puts one build of the service on a host and starts it; a build that is there already is replaced."""
    files = targets.build(version, padded=padded)
    exists = host.service_state(NAME) != "absent"
    if exists:
        host.service_stop(NAME)
    folder = host.path(FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    for source in (files.exe, files.dll):
        place = folder / source.name
        place.unlink(missing_ok=True)
        shutil.copyfile(source, place)
    if not exists:
        created = host.run(["sc", "create", NAME, "binPath=", f'"{EXE}"', "start=", "auto", "DisplayName=", "Orders"])
        if created.returncode != 0:
            raise LabError(f"{host.name}: sc create {NAME} ended with {created.returncode}: {created.stdout!r}")
    host.registry_set(rf"HKLM\SYSTEM\CurrentControlSet\Services\{NAME}\Parameters", "Port", port)
    host.service_start(NAME)
    return OrdersService(host, port)
