# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lab: several hosts below one folder, alive as long as their owner."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import subprocess
import sys
import typing as t
from pathlib import Path

from lab import quota, rpc, tls
from lab.facts import write_facts
from lab.host import ADDRESS, REPOSITORY, Host
from lab.settings import HostSettings
from lab.spec import ADMINISTRATOR, PLAIN_USER, HostPaths, HostSpec
from lab.template import ensure_template, remove_tree
from lab.wine import LabError, Wine, kill_until_gone, processes_of_prefix, wait_until

CACHE = REPOSITORY / ".build" / "lab"
START_S = 120.0


class Lab:
    """Hosts and the guardian that ends them.

    As a context manager the lab lives as long as the block, and ends when this process ends in any way, SIGKILL included.
    ``detached=True`` leaves it running until stop() is called by whoever opens the same folder (``lab up`` and ``lab down``).
    """

    def __init__(self, root: Path | None = None, *, cache: Path = CACHE) -> None:
        self.root = (root or CACHE / "default").resolve()
        self._cache = cache
        self._guardian: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Lab:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- life ----------------------------------------------------------------------------------------------------------------

    def start(self, *, detached: bool = False) -> None:
        """Starts the guardian. A lab that ran here before is cleaned up; one that still runs is refused."""
        if self.is_running:
            raise LabError(f"a lab runs in {self.root} already: python -m lab down --root {self.root}")
        (self.root / "hosts").mkdir(parents=True, exist_ok=True)
        self._sweep()
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}
        with (self.root / "guardian.log").open("ab") as log:
            self._guardian = subprocess.Popen(
                [sys.executable, "-m", "lab.guardian", str(self.root), *(["--detached"] if detached else [])],
                stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        if not wait_until(lambda: self.is_running, START_S):
            raise LabError(f"the lab did not start, see {self.root / 'guardian.log'}")

    def stop(self) -> None:
        """Ends every host and the guardian and removes the hosts' disks."""
        with contextlib.suppress(OSError, EOFError, rpc.RemoteError):
            rpc.call(self.root / rpc.GUARDIAN_SOCKET, {"operation": "stop"})
        if self._guardian is not None:
            if self._guardian.stdin is not None:
                self._guardian.stdin.close()
            try:
                self._guardian.wait(60)
            except subprocess.TimeoutExpired:
                self._guardian.kill()
                self._guardian.wait()
            self._guardian = None
        else:
            wait_until(lambda: not self.is_running, 60)
        self._sweep()

    def remove(self) -> None:
        """Ends the lab, if it runs, and removes its folder with everything in it."""
        self.stop()
        remove_tree(self.root)

    @property
    def is_running(self) -> bool:
        """Whether a guardian answers in this folder."""
        try:
            rpc.call(self.root / rpc.GUARDIAN_SOCKET, {"operation": "list"}, timeout=10)
        except (OSError, EOFError):
            return False
        return True

    def _sweep(self) -> None:
        """Removes what is left in the folder: disks, and processes should guardian and hosts all have been killed at once."""
        for folder in (self.root / "hosts").glob("*"):
            prefix = HostPaths(folder).prefix
            kill_until_gone(functools.partial(processes_of_prefix, prefix))
            quota.unmount_below(folder)
            remove_tree(folder)

    # -- hosts ---------------------------------------------------------------------------------------------------------------

    def create(self, spec: HostSpec) -> Host:
        """Makes a new host, switched off: up() boots it."""
        paths = HostPaths(self.root / "hosts" / spec.name)
        if paths.folder.exists():
            raise LabError(f"there is a host {spec.name} already")
        template = ensure_template(self._cache, Wine.find())
        authority = tls.ensure_authority(self._cache / "tls")
        paths.folder.mkdir(parents=True)
        try:
            template.clone(paths.prefix)
            write_facts(paths.prefix, spec)
            (paths.drive_c / "lab" / "run").mkdir(parents=True, exist_ok=True)
            http_port, https_port, target_port = _free_ports(3)
            key = authority.issue(paths.folder, spec.name, ADDRESS)
            users = (ADMINISTRATOR, PLAIN_USER)
            settings = HostSettings(spec, http_port, https_port, target_port, users, str(authority.certificate), str(key))
            settings.save(paths.settings)
            rpc.call(self.root / rpc.GUARDIAN_SOCKET, {"operation": "start", "name": spec.name})
        except BaseException:
            remove_tree(paths.folder)
            raise
        return Host(paths.folder)

    def destroy(self, host: Host) -> None:
        """Ends a host and removes its disk."""
        rpc.call(self.root / rpc.GUARDIAN_SOCKET, {"operation": "remove", "name": host.name})
        remove_tree(self.root / "hosts" / host.name)

    def host(self, name: str) -> Host:
        """A host by its name."""
        folder = self.root / "hosts" / name
        if not folder.exists():
            raise LabError(f"there is no host {name} in {self.root}")
        return Host(folder)

    @property
    def hosts(self) -> list[Host]:
        """Every host of the lab, by name."""
        return [Host(folder) for folder in sorted((self.root / "hosts").glob("*")) if HostPaths(folder).settings.exists()]

    def inventory(self) -> dict[str, t.Any]:
        """An Ansible inventory with the hosts in the group ``lab``; it can be written as YAML."""
        return {"all": {"children": {"lab": {"hosts": {host.name: host.inventory() for host in self.hosts}}}}}


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((ADDRESS, 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
