# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shells of a host and the commands in them: what lives between two requests of a client."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import threading
import time
import typing as t
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.machine import Command, CommandError, HostDownError, Machine
from lab.spec import Quotas, User
from lab.wsman import faults

BUFFER_MAX = 1024 * 1024
"""Output that nobody has fetched yet; a command that writes more waits, as on Windows."""
DRAIN_S = 2.0
"""A program may leave a child behind that holds its streams open; what it wrote itself is read within this time."""
ERROR_TEXTS = {
    2: "The system cannot find the file specified. ",
    3: "The system cannot find the path specified. ",
    5: "Access is denied. ",
    193: "%1 is not a valid Win32 application. ",
    267: "The directory name is invalid. ",
}


@dataclass(frozen=True)
class Output:
    """What one Receive gives: the streams' bytes, and the exit code once everything was given."""

    streams: list[tuple[str, bytes]]
    exit_code: int | None


class ShellCommand:
    """A command that runs in a shell, with its three streams."""

    def __init__(self, command: Command, stdin: t.IO[bytes], outputs: Mapping[str, t.IO[bytes]]) -> None:
        self.id = str(uuid.uuid4()).upper()
        self._command = command
        self._stdin: t.IO[bytes] | None = stdin
        self._changed = threading.Condition()
        self._buffers = {name: bytearray() for name in outputs}
        self._exit_code: int | None = None
        self._input_lock = threading.Lock()
        self._readers = [threading.Thread(target=self._read, args=pair, daemon=True) for pair in outputs.items()]
        for reader in self._readers:
            reader.start()
        threading.Thread(target=self._wait, daemon=True).start()

    def _read(self, name: str, stream: t.IO[bytes]) -> None:
        with stream, contextlib.suppress(OSError, ValueError):
            while chunk := os.read(stream.fileno(), 65536):
                with self._changed:
                    self._changed.wait_for(lambda: len(self._buffers[name]) < BUFFER_MAX or self._exit_code is not None)
                    self._buffers[name] += chunk
                    self._changed.notify_all()

    def _wait(self) -> None:
        try:
            code = self._command.wait()
        except CommandError as error:
            code = error.code
        end = time.monotonic() + DRAIN_S
        for reader in self._readers:
            # A reader that waits for room goes on as the client fetches; only one that waits for the program's children is left.
            while reader.is_alive() and (time.monotonic() < end or self._is_full()):
                reader.join(0.05)
        with self._changed:
            self._exit_code = code
            self._changed.notify_all()

    def _is_full(self) -> bool:
        with self._changed:
            return any(len(buffer) >= BUFFER_MAX for buffer in self._buffers.values())

    @property
    def is_running(self) -> bool:
        """Whether the program has not ended."""
        return self._exit_code is None

    def receive(self, names: t.Collection[str], limit: int, timeout: float) -> Output:
        """Waits for output or the end; raises the TimedOut fault when there is neither in time.

        At most ``limit`` bytes are given in all. The exit code comes with the last of them.
        """
        with self._changed:
            ready = self._changed.wait_for(lambda: self._exit_code is not None or any(self._buffers[n] for n in names), timeout)
            if not ready:
                raise faults.timed_out()
            streams = []
            for name in names:
                chunk = bytes(self._buffers[name][:limit])
                del self._buffers[name][: len(chunk)]
                limit -= len(chunk)
                if chunk:
                    streams.append((name, chunk))
            done = self._exit_code is not None and not any(self._buffers[name] for name in names)
            self._changed.notify_all()
            return Output(streams, self._exit_code if done else None)

    def send(self, data: bytes, *, end: bool, timeout: float) -> None:
        """Writes to standard input; raises the TimedOut fault when the program does not take it in time."""
        limit = time.monotonic() + timeout
        with self._input_lock:
            if self._stdin is None:
                raise faults.win32(faults.BROKEN_PIPE, "The pipe has been ended. ")
            try:
                self._write(memoryview(data), limit)
            except BrokenPipeError:
                raise faults.win32(faults.BROKEN_PIPE, "The pipe has been ended. ") from None
            if end:
                self._close_input()

    def _write(self, data: memoryview, limit: float) -> None:
        assert self._stdin is not None
        descriptor = self._stdin.fileno()
        os.set_blocking(descriptor, False)
        while data:
            left = limit - time.monotonic()
            if left <= 0 or not select.select([], [descriptor], [], left)[1]:
                raise faults.timed_out()
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(descriptor, data) :]

    def _close_input(self) -> None:
        if self._stdin is not None:
            with contextlib.suppress(OSError):
                self._stdin.close()
            self._stdin = None

    def control_c(self, machine: Machine) -> None:
        """Sends Ctrl+C. What the program makes of it is its own affair."""
        if self.is_running:
            machine.send_control_c(self._command)

    def kill(self) -> None:
        """Ends the program and what it started."""
        with self._changed:
            for buffer in self._buffers.values():
                buffer.clear()
            self._changed.notify_all()
        self._command.kill()
        with self._input_lock:
            self._close_input()


@dataclass
class Shell:
    """One open shell."""

    id: str
    owner: User
    client: str
    folder: str
    environment: Mapping[str, str]
    input_streams: str
    output_streams: str
    idle_timeout: float
    code_page: int
    commands: dict[str, ShellCommand] = field(default_factory=dict)
    created: float = field(default_factory=time.monotonic)
    used: float = field(default_factory=time.monotonic)

    def command(self, command_id: str) -> ShellCommand:
        """A command by its id, which is compared without regard to case."""
        try:
            return self.commands[command_id.upper()]
        except KeyError:
            raise faults.unknown_command() from None

    def kill(self) -> None:
        """Ends everything in the shell."""
        for command in list(self.commands.values()):
            command.kill()


class Shells:
    """Every shell of a host."""

    def __init__(self, machine: Machine, quotas: Quotas) -> None:
        self._machine = machine
        self._quotas = quotas
        self._shells: dict[str, Shell] = {}
        self._lock = threading.Lock()

    def create(self, shell: Shell) -> None:
        """Adds a shell; raises the quota's fault."""
        with self._lock:
            own = sum(1 for other in self._shells.values() if other.owner == shell.owner)
            if own >= self._quotas.max_shells_per_user:
                raise faults.too_many_shells(self._quotas.max_shells_per_user)
            if shell.id in self._shells:
                raise faults.win32(183, "Cannot create a file when that file already exists. ")
            self._shells[shell.id] = shell

    def get(self, shell_id: str, user: User) -> Shell:
        """A shell by its id. One of another user is not to be seen."""
        with self._lock:
            shell = self._shells.get(shell_id.upper())
            if shell is None or shell.owner != user:
                raise faults.unknown_shell(shell_id)
            shell.used = time.monotonic()
            return shell

    def delete(self, shell_id: str, user: User) -> None:
        """Ends a shell and its commands."""
        shell = self.get(shell_id, user)
        with self._lock:
            self._shells.pop(shell.id, None)
        shell.kill()

    def all(self, user: User) -> list[Shell]:
        """The shells of one user."""
        with self._lock:
            return [shell for shell in self._shells.values() if shell.owner == user]

    def clear(self) -> None:
        """Ends every shell: the service stops."""
        with self._lock:
            shells = list(self._shells.values())
            self._shells.clear()
        for shell in shells:
            shell.kill()

    def expire(self) -> None:
        """Deletes shells that no message has come for within their idle timeout."""
        now = time.monotonic()
        with self._lock:
            idle = [shell for shell in self._shells.values() if now - shell.used > shell.idle_timeout]
            for shell in idle:
                del self._shells[shell.id]
        for shell in idle:
            shell.kill()

    def run(self, shell: Shell, command_line: str, timeout: float) -> ShellCommand:
        """Starts a command in a shell; raises the quota's fault, or a fault with the Win32 error when it cannot be started."""
        with self._lock:
            if sum(1 for command in shell.commands.values() if command.is_running) >= self._quotas.max_processes_per_shell:
                raise faults.too_many_commands(self._quotas.max_processes_per_shell)
        try:
            command = self._start(shell, command_line, timeout)
        except HostDownError:
            raise faults.win32(1115, "A system shutdown is in progress. ") from None
        except CommandError as error:
            raise faults.win32(error.code, ERROR_TEXTS.get(error.code, f"Error {error.code}. ")) from None
        with self._lock:
            shell.commands[command.id] = command
        return command

    def control_c(self, command: ShellCommand) -> None:
        """Sends Ctrl+C to a command."""
        command.control_c(self._machine)

    def _start(self, shell: Shell, command_line: str, timeout: float) -> ShellCommand:
        process = self._machine.start(
            command_line,
            folder=shell.folder,
            environment=shell.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            console=True,
            code_page=shell.code_page,
            timeout=timeout,
        )
        streams = process.process
        assert streams.stdin is not None
        assert streams.stdout is not None
        assert streams.stderr is not None
        return ShellCommand(process, streams.stdin, {"stdout": streams.stdout, "stderr": streams.stderr})


def signed(exit_code: int) -> int:
    """The exit code as rsp:ExitCode carries it (xs:int)."""
    return exit_code - (1 << 32) if exit_code >= 1 << 31 else exit_code
