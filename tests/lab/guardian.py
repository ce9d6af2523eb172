# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process above all hosts of one lab: it starts them, and it ends them for certain.

    python -m lab.guardian ROOT            ends when its standard input is closed: when the owner ends, however it ends
    python -m lab.guardian ROOT --detached ends when told (``lab down``)

It has everything loaded that a host's process needs and forks, which takes milliseconds. It has one thread and does next to
nothing, so there is little in it that could fail; it is a subreaper, so that even the Wine processes of a host whose own
process was killed come to it and are ended.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path

from lab import hostd, quota, rpc
from lab.rpc import Message
from lab.wine import PR_SET_CHILD_SUBREAPER, descendants, kill_until_gone, prctl

END_S = 30.0


class Guardian:
    """Starts and ends the hosts below one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._server = rpc.listen(root / rpc.GUARDIAN_SOCKET)
        self._hosts: dict[int, str] = {}
        self._wakeup, notify = socket.socketpair()
        self._wakeup.setblocking(False)
        notify.setblocking(False)
        signal.set_wakeup_fd(notify.fileno())
        self._notify = notify
        self._stop = False

    def serve(self, owner: int | None) -> None:
        """Answers until told to stop or until ``owner`` (a descriptor) is closed at its other end."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._told_to_stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while not self._stop:
            waiting: list[int | socket.socket] = [self._server, self._wakeup, *([] if owner is None else [owner])]
            ready, _, _ = select.select(waiting, [], [])
            if self._wakeup in ready:
                self._children_changed()
            if owner in ready and os.read(owner or 0, 4096) == b"":
                return
            if self._server in ready:
                self._answer()

    def _told_to_stop(self, *_: object) -> None:
        self._stop = True

    def _children_changed(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wakeup.recv(4096):
                pass
        while (pid := _collect_one()) != 0:
            name = self._hosts.pop(pid, None)
            if name is not None:
                self._end_orphans()
                quota.unmount_below(self._root / "hosts" / name)

    def _end_orphans(self) -> None:
        """A host's process has gone without its Windows: its Wine processes are children of this one now."""

        def orphans() -> set[int]:
            kept: set[int] = set(self._hosts)
            for pid in self._hosts:
                kept |= descendants(pid)
            return descendants(os.getpid()) - kept

        kill_until_gone(orphans)

    def _answer(self) -> None:
        connection, _ = self._server.accept()
        connection.settimeout(5)
        with connection, contextlib.suppress(OSError, EOFError):
            request, _ = rpc.receive(connection)
            rpc.send(connection, self._dispatch(request, connection))

    def _dispatch(self, request: Message, connection: socket.socket) -> Message:
        match request["operation"]:
            case "start":
                return self._start(str(request["name"]), connection)
            case "remove":
                self._end([pid for pid, name in self._hosts.items() if name == request["name"]])
                return {}
            case "list":
                return {"hosts": sorted(self._hosts.values()), "pid": os.getpid()}
            case "stop":
                self._stop = True
                self._end(list(self._hosts))
                return {}
            case unknown:
                return {"error": f"unknown operation {unknown!r}"}

    def _start(self, name: str, connection: socket.socket) -> Message:
        if name in self._hosts.values():
            return {"error": f"host {name} runs already"}
        folder = self._root / "hosts" / name
        control = rpc.listen(folder / rpc.CONTROL_SOCKET)
        pid = os.fork()
        if pid == 0:
            connection.close()
            self._become_host(folder, control)
        control.close()
        self._hosts[pid] = name
        return {"pid": pid}

    def _become_host(self, folder: Path, control: socket.socket) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._server.close()
            self._wakeup.close()
            self._notify.close()
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            log = os.open(folder / "host.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            hostd.main(folder, control)
            status = 0
        finally:
            # Whatever happened: this child must never return into the guardian's own loop.
            if status != 0:
                traceback.print_exc()
            os._exit(status)

    def _end(self, pids: list[int]) -> None:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        for pid in pids:
            _wait_for(pid, END_S)
            self._hosts.pop(pid, None)
        self._end_orphans()

    def end_everything(self) -> None:
        """Ends every host and whatever else is left below this process."""
        self._end(list(self._hosts))
        quota.unmount_below(self._root)
        (self._root / rpc.GUARDIAN_SOCKET).unlink(missing_ok=True)


def _collect_one() -> int:
    try:
        return os.waitpid(-1, os.WNOHANG)[0]
    except ChildProcessError:
        return 0


def _wait_for(pid: int, timeout: float) -> None:
    """Waits for a child; kills it when it takes too long."""
    descriptor = os.pidfd_open(pid)
    try:
        if not select.select([descriptor], [], [], timeout)[0]:
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    finally:
        os.close(descriptor)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="lab.guardian")
    parser.add_argument("root", type=Path)
    parser.add_argument("--detached", action="store_true")
    arguments = parser.parse_args()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    guardian = Guardian(arguments.root)
    try:
        guardian.serve(None if arguments.detached else 0)
    finally:
        guardian.end_everything()
    return 0


if __name__ == "__main__":
    sys.exit(main())
