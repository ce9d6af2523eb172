# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that is one host: it boots the machine, answers the lab's questions, and notices when the host wants to reboot.

It is a subreaper: whatever Wine starts stays below it in the process tree, however often it forks, so that everything of
the host can be found and ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from lab import quota, rpc
from lab.machine import Command, CommandError, HostDownError, Machine
from lab.rpc import Message
from lab.settings import HostSettings
from lab.spec import HostPaths
from lab.wine import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, LabError, Wine, give_up_override, prctl
from lab.wsman.endpoint import Endpoint

POLL_S = 0.1
REBOOT_REQUEST = ("lab", "reboot-request")
STORE = ("ProgramData", "hotpatch.windows")
REBOOT_DELAY_MAX_S = 600.0


class HostProcess:
    """One host's life and its control socket."""

    def __init__(self, folder: Path, control: socket.socket) -> None:
        self._paths = HostPaths(folder)
        self._settings = HostSettings.load(self._paths.settings)
        self._control = control
        self._machine = Machine(self._paths, Wine.find(), self.log)
        self._endpoint = Endpoint(self._settings, self._machine, folder, self.log)
        self._changing = threading.RLock()
        self._ending = threading.Event()

    def log(self, text: str) -> None:
        """Adds a line to the host's log."""
        stamp = time.strftime("%H:%M:%S", time.localtime())
        with self._paths.log.open("a", encoding="utf-8") as stream:
            stream.write(f"{stamp} {text}\n")

    def serve(self) -> None:
        """Answers until SIGTERM (or the guardian's end), then cuts the power and returns."""
        signal.signal(signal.SIGTERM, lambda *_: self._ending.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=self._accept, daemon=True).start()
        while not self._ending.wait(POLL_S):
            self._machine.reap()
            self._look_for_reboot_request()
        self._endpoint.close()
        self._machine.power_cut()
        quota.unmount_below(self._paths.folder)

    def _accept(self) -> None:
        while True:
            connection, _ = self._control.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, EOFError):
            request, files = rpc.receive(connection)
            try:
                reply = self._dispatch(request, files, connection)
            except CommandError as error:
                reply = {"error": str(error), "win32": error.code}
            except (LabError, OSError, ValueError) as error:
                reply = {"error": str(error)}
            finally:
                for descriptor in files:
                    with contextlib.suppress(OSError):
                        os.close(descriptor)
            rpc.send(connection, reply)

    def _dispatch(self, request: Message, files: list[int], connection: socket.socket) -> Message:
        match request["operation"]:
            case "up":
                self.boot()
            case "down":
                self._stop(self._machine.shut_down)
            case "power_cut":
                self._stop(self._machine.power_cut)
            case "reboot":
                self.reboot()
            case "status":
                pass
            case "run":
                return {"exit": self._run(request, files, connection)}
            case "ask":
                return {"answer": self._machine.ask(request["arguments"])}
            case "quota":
                self._limit(request["free_bytes"])
            case "requests":
                return self._endpoint.counters()
            case unknown:
                raise LabError(f"unknown operation {unknown!r}")
        return {"up": self._machine.is_up, "boots": self._machine.boot_count, "pid": os.getpid()}

    def boot(self) -> None:
        """Boots Windows, then lets clients in."""
        with self._changing:
            self._reboot_request.unlink(missing_ok=True)
            self._machine.boot()
            self._endpoint.open()

    def _stop(self, end: Callable[[], None]) -> None:
        with self._changing:
            self._endpoint.close()
            end()

    def reboot(self) -> None:
        """Goes down in order and comes up again."""
        with self._changing:
            self.log("reboot")
            self._stop(self._machine.shut_down)
            self.boot()

    def _limit(self, free_bytes: int | None) -> None:
        folder = self._paths.drive_c.joinpath(*STORE)
        if free_bytes is None:
            quota.lift(folder)
        else:
            quota.limit(folder, free_bytes)

    @property
    def _reboot_request(self) -> Path:
        return self._paths.drive_c.joinpath(*REBOOT_REQUEST)

    def _look_for_reboot_request(self) -> None:
        """A program in the host asks for a reboot by writing the delay in seconds into a file."""
        if not self._reboot_request.exists() or not self._machine.is_up:
            return
        try:
            delay = min(float(self._reboot_request.read_text().strip() or 0), REBOOT_DELAY_MAX_S)
        except (OSError, ValueError):
            delay = 0.0
        self._reboot_request.unlink(missing_ok=True)
        self.log(f"the host asked for a reboot in {delay:g} s")
        threading.Thread(target=self._reboot_after, args=(delay, self._machine.boot_count), daemon=True).start()

    def _reboot_after(self, delay: float, boot: int) -> None:
        if self._ending.wait(delay):
            return
        with self._changing:
            if self._machine.is_up and self._machine.boot_count == boot:
                self.reboot()

    def _run(self, request: Message, files: list[int], connection: socket.socket) -> int:
        stdin, stdout, stderr = files
        command = self._machine.start(
            request["command_line"],
            folder=request["folder"],
            environment=request["environment"],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        # The command has its own copies; with ours open its reader would never see the end.
        while files:
            os.close(files.pop())
        watcher = threading.Thread(target=_kill_when_caller_goes, args=(connection, command), daemon=True)
        watcher.start()
        return command.wait()


def _kill_when_caller_goes(connection: socket.socket, command: Command) -> None:
    with contextlib.suppress(OSError):
        if connection.recv(1, socket.MSG_PEEK) == b"":
            command.kill()


def main(folder: Path, control: socket.socket) -> None:
    """Runs one host in this process (a fresh child of the guardian) until it is told to end."""
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    give_up_override()
    HostProcess(folder, control).serve()
    with contextlib.suppress(HostDownError):
        control.close()
