# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of the lab as tests and tools see it: a thin client of the host's own process."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
import threading
import typing as t
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab import eventlog, orders, rpc
from lab.facts import host_path
from lab.hive import open_hive
from lab.orders import OrdersService
from lab.rpc import Message
from lab.settings import HostSettings
from lab.spec import Event, HostPaths, HostSpec, Process, RequestCounters
from lab.wine import LabError, descendants, wait_until

ADDRESS = "127.0.0.1"
REPOSITORY = Path(__file__).resolve().parents[2]
_TEB_PROCESS_ID = 0x40
"""ClientId.UniqueProcess in the TEB of a 64-bit thread."""


class Host:
    """One Windows host. Made by Lab.create, or found again by its folder (the command line tool)."""

    def __init__(self, folder: Path) -> None:
        self._paths = HostPaths(folder)
        self._settings = HostSettings.load(self._paths.settings)
        self.spec: HostSpec = self._settings.spec
        self.name: str = self.spec.name
        self.address: str = ADDRESS
        self.http_port: int = self._settings.http_port
        self.https_port: int = self._settings.https_port
        administrator = next(user for user in self._settings.users if user.administrator)
        plain = next(user for user in self._settings.users if not user.administrator)
        self.user: str = administrator.name
        self.password: str = administrator.password
        self.plain_user: str = plain.name
        self.plain_password: str = plain.password
        self.certificate: Path = Path(self._settings.certificate)

    # -- life ----------------------------------------------------------------------------------------------------------------

    def _call(self, operation: str, *, timeout: float | None = 180.0, **arguments: t.Any) -> Message:
        request = {"operation": operation, **arguments}
        try:
            return rpc.call(self._paths.folder / rpc.CONTROL_SOCKET, request, timeout=timeout)
        except rpc.RemoteError as error:
            raise LabError(f"{self.name}: {error}") from None

    def up(self) -> None:
        """Boots: services that start by themselves run and the WS-Man endpoint answers when this returns."""
        self._call("up")

    def down(self) -> None:
        """Shuts down in order: services are told, then every process ends."""
        self._call("down")

    def reboot(self) -> None:
        """Goes down in order and comes up again; returns when the endpoint answers again."""
        self._call("reboot")

    def power_cut(self) -> None:
        """Kills everything at once. up() boots again."""
        self._call("power_cut")

    @property
    def is_up(self) -> bool:
        """Whether Windows runs."""
        return bool(self._call("status")["up"])

    @property
    def boot_count(self) -> int:
        """How often the host was booted."""
        return int(self._call("status")["boots"])

    def wait_for_boot(self, count: int, timeout: float = 300.0) -> None:
        """Waits until the host runs in its boot number ``count`` or a later one (after a reboot that the host asked for)."""

        def booted() -> bool:
            status = self._call("status")
            return bool(status["up"]) and int(status["boots"]) >= count

        if not wait_until(booted, timeout, interval=0.1):
            raise LabError(f"{self.name} did not come up for boot {count} within {timeout:.0f} s, see {self._paths.log}")

    # -- files and registry --------------------------------------------------------------------------------------------------

    @property
    def drive_c(self) -> Path:
        """The Linux folder that is C:\\."""
        return self._paths.drive_c

    @property
    def prefix(self) -> Path:
        """The Wine prefix."""
        return self._paths.prefix

    @property
    def log(self) -> Path:
        """The host's own log: boots, reboots, and why."""
        return self._paths.log

    @property
    def services_log(self) -> Path:
        """Standard error of the services."""
        return self._paths.services_log

    def path(self, windows_path: str) -> Path:
        r"""The Linux path of ``C:\…``."""
        return host_path(self._paths.drive_c, windows_path)

    def registry_get(self, key: str, name: str) -> int | str | None:
        """A REG_DWORD or REG_SZ value, None when it is absent; the key starts with HKLM\\ or HKCU\\."""
        if not self.is_up:
            hive, inner = open_hive(self._paths.prefix, key)
            return hive.get(inner, name)
        value: int | str | None = self._ask("reg", "get", key, name)["value"]
        return value

    def registry_set(self, key: str, name: str, value: int | str) -> None:
        """Sets a REG_DWORD (int) or REG_SZ (str) and makes the key when needed."""
        if self.is_up:
            self._ask("reg", "set", key, name, "dword" if isinstance(value, int) else "sz", str(value))
            return
        hive, inner = open_hive(self._paths.prefix, key)
        hive.set(inner, name, value)
        hive.save()

    def registry_delete(self, key: str, name: str | None = None) -> None:
        """Removes a value, or the whole key when no name is given. An absent one is no error."""
        if self.is_up:
            self._ask("reg", "delete-key" if name is None else "delete", key, name or "-")
            return
        hive, inner = open_hive(self._paths.prefix, key)
        if name is None:
            hive.delete_key(inner)
        else:
            hive.delete(inner, name)
        hive.save()

    # -- programs ------------------------------------------------------------------------------------------------------------

    def _ask(self, *arguments: str) -> t.Any:
        return self._call("ask", arguments=list(arguments))["answer"]

    def run(
        self,
        argv: Sequence[str] | str,
        stdin: bytes = b"",
        timeout: float = 120.0,
        env: Mapping[str, str] | None = None,
        folder: str = "C:\\",
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a program in the host as SYSTEM and gives its 32-bit exit code and output.

        ``argv`` is quoted by Windows' rules; a string is passed as the command line it is. Raises subprocess.TimeoutExpired
        (the program and its children are ended then), and LabError when the program cannot be started.
        """
        command_line = argv if isinstance(argv, str) else subprocess.list2cmdline(argv)
        in_read, in_write = os.pipe()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        outputs: dict[int, bytes] = {}
        threads = [threading.Thread(target=_read_all, args=(end, outputs), daemon=True) for end in (out_read, err_read)]
        threads.append(threading.Thread(target=_write_all, args=(in_write, stdin), daemon=True))
        try:
            with rpc.connect(self._paths.folder / rpc.CONTROL_SOCKET) as connection:
                request = {"operation": "run", "command_line": command_line, "folder": folder, "environment": dict(env or {})}
                rpc.send(connection, request, (in_read, out_write, err_write))
                for end in (in_read, out_write, err_write):
                    os.close(end)
                for thread in threads:
                    thread.start()
                connection.settimeout(timeout)
                reply, _ = rpc.receive(connection)
        except TimeoutError:
            raise subprocess.TimeoutExpired(command_line, timeout) from None
        if "error" in reply:
            raise LabError(f"{self.name}: {reply['error']}")
        for thread in threads[:2]:
            thread.join(timeout)
        code = int(reply["exit"])
        return subprocess.CompletedProcess(command_line, code, outputs.get(out_read, b""), outputs.get(err_read, b""))

    def attach(self, argv: Sequence[str]) -> int:
        """Runs a program on this process' own standard streams (for people) and gives its exit code."""
        request = {"operation": "run", "command_line": subprocess.list2cmdline(argv), "folder": "C:\\", "environment": {}}
        try:
            reply = rpc.call(self._paths.folder / rpc.CONTROL_SOCKET, request, files=(0, 1, 2), timeout=None)
        except rpc.RemoteError as error:
            raise LabError(f"{self.name}: {error}") from None
        return int(reply["exit"])

    def processes(self) -> list[Process]:
        """Every process of the host."""
        linux = self._linux_processes()
        return [
            Process(entry["pid"], entry["parent"], entry["image"], entry["threads"], _match(linux, entry["teb"], entry["pid"]))
            for entry in self._ask("ps")
        ]

    def _linux_processes(self) -> list[int]:
        return sorted(descendants(int(self._call("status")["pid"])))

    def service_start(self, name: str) -> None:
        """Starts a service and waits until it runs."""
        self._expect_service(name, "start", "running")

    def service_stop(self, name: str) -> None:
        """Stops a service and waits until it has stopped."""
        self._expect_service(name, "stop", "stopped")

    def service_state(self, name: str) -> str:
        """stopped, start_pending, running, stop_pending, paused, or absent."""
        try:
            return str(self._ask("service", "state", name)["state"])
        except LabError as error:
            if "Win32 error 1060" in str(error):
                return "absent"
            raise

    def service_pid(self, name: str) -> int:
        """The Windows process id of a running service, 0 when it does not run."""
        return int(self._ask("service", "state", name)["pid"])

    def _expect_service(self, name: str, verb: str, state: str) -> None:
        answer = self._ask("service", verb, name)
        if answer["state"] != state:
            raise LabError(f"{self.name}: service {name} is {answer['state']} after {verb} (exit code {answer['exit']})")

    # -- what is installed ---------------------------------------------------------------------------------------------------

    def install_agent(self, path: Path | None = None) -> None:
        """Copies the agent's lab build (or another program) to the host and lets it install itself."""
        source = path or REPOSITORY / ".build" / "agent" / "hotpatch-agent-lab.exe"
        if not source.exists():
            raise LabError(f"{source} does not exist: make agent")
        place = self.path(r"C:\lab\hotpatch-agent.exe")
        place.unlink(missing_ok=True)
        shutil.copyfile(source, place)
        result = self.run([r"C:\lab\hotpatch-agent.exe", "install"], timeout=180)
        if result.returncode != 0:
            raise LabError(f"{self.name}: the agent's install ended with {result.returncode}: {result.stdout!r} {result.stderr!r}")

    def install_target(self, version: str = "v1", *, padded: bool = True) -> OrdersService:
        """Installs and starts the service "orders" with one variant of its DLL (lab.targets.VARIANTS), or exchanges it."""
        return orders.install(self, self._settings.target_port, version, padded=padded)

    def set_store_quota(self, free_bytes: int | None) -> None:
        r"""Leaves only so much room below C:\ProgramData\hotpatch.windows (None: the whole disk). Needs root.

        A running agent service is stopped for the change and started again: files it holds open would escape the limit.
        """
        service = "hotpatch-agent"
        running = self.is_up and self.service_state(service) == "running"
        if running:
            self.service_stop(service)
        self._call("quota", free_bytes=free_bytes)
        if running:
            self.service_start(service)

    # -- what was observed ---------------------------------------------------------------------------------------------------

    def event_log(self) -> list[Event]:
        """What the services wrote to the event log, oldest first."""
        return eventlog.read(self._paths.services_log)

    @property
    def requests(self) -> RequestCounters:
        """What passed through the WS-Man endpoint so far: take the difference of two readings."""
        return RequestCounters(**self._call("requests"))

    def inventory(self) -> dict[str, t.Any]:
        """The host's variables for Ansible."""
        return {
            "ansible_host": self.address,
            "ansible_port": self.https_port,
            "ansible_user": self.user,
            "ansible_password": self.password,
            "ansible_connection": "hotpatch.windows.winrs",
            "ansible_winrs_protocol": "https",
            "ansible_winrs_ca_cert": str(self.certificate),
            # A machine that many share can stand still for longer than the default.
            "ansible_winrs_read_timeout": 180,
            "hotpatch_windows_lab": True,
            "hotpatch_windows_agent_path": str(REPOSITORY / ".build" / "agent" / "hotpatch-agent-lab.exe"),
        }


def _read_all(descriptor: int, into: dict[int, bytes]) -> None:
    chunks = bytearray()
    with open(descriptor, "rb", buffering=0) as stream:
        while chunk := stream.read(65536):
            chunks += chunk
            into[descriptor] = bytes(chunks)
    into[descriptor] = bytes(chunks)


def _write_all(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), open(descriptor, "wb") as stream:
        stream.write(data)


def _match(linux_pids: list[int], teb: int, windows_pid: int) -> int | None:
    for pid in linux_pids:
        with contextlib.suppress(OSError), Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(teb + _TEB_PROCESS_ID)
            if struct.unpack("<Q", memory.read(8))[0] == windows_pid and teb:
                return pid
    return None
