# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does it mean that a host is on, off, or restarting? The Windows side of one host: its wineserver and its processes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import threading
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab import facts
from lab.eventlog import CHANNELS
from lab.spec import HostPaths
from lab.wine import LabError, Wine, descendants, kill_until_gone, reap_strangers, server_listens, wait_until

Popen = subprocess.Popen[bytes]
Stream = int | t.IO[bytes] | None
"""A descriptor or file; None is the null device."""

LABCTL = r"C:\lab\labctl.exe"
AUTOSTART_S = 60.0
"""Services that start by themselves take about 0.5 s on an idle machine; the bound is for one that runs ten hosts and a compiler."""
SERVER_S = 30.0
SHUTDOWN_S = 40.0
CONTROL_C_EXIT = 0xC000013A
KILLED_EXIT = 0x40010004
"""DBG_TERMINATE_PROCESS: what is reported for a command that the host's end took along."""


class HostDownError(LabError):
    """The host is off or restarting."""


class CommandError(LabError):
    """A command could not be started; ``code`` is the Win32 error."""

    def __init__(self, command_line: str, code: int) -> None:
        super().__init__(f"{command_line!r} could not be started: Win32 error {code}")
        self.code = code


@dataclass(frozen=True)
class Command:
    """One command that was started in the host."""

    command_line: str
    process: Popen
    specification: Path
    result: Path
    control_c: str

    def wait_for_start(self, timeout: float) -> bool:
        """Waits until the program runs (or has ended); raises CommandError when there was nothing to start.

        False when it ended before it could say whether there was.
        """
        if not wait_until(lambda: self.result.exists() or self.process.poll() is not None, timeout, interval=0.005):
            return True
        word, number = self._read_result()
        if word == "error":
            raise CommandError(self.command_line, number)
        return bool(word)

    def _read_result(self) -> tuple[str, int]:
        try:
            word, _, number = self.result.read_text().partition(" ")
        except OSError:
            return "", 0
        return word, int(number or 0)

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end and gives the 32-bit exit code; raises CommandError when there was nothing to start."""
        self.process.wait(timeout)
        self.specification.unlink(missing_ok=True)
        word, number = self._read_result()
        self.result.unlink(missing_ok=True)
        if word == "error":
            raise CommandError(self.command_line, number)
        return number if word == "exit" else KILLED_EXIT

    def kill(self) -> None:
        """Ends the command and, by its job, everything it started."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


class Machine:
    """Boots, runs and stops one prefix. Life-cycle methods exclude one another; commands may run side by side."""

    def __init__(self, paths: HostPaths, wine: Wine, log: t.Callable[[str], None]) -> None:
        self._paths = paths
        self._wine = wine
        self._log = log
        self._server: Popen | None = None
        self._numbers = itertools.count(1)
        self._children: list[Popen] = []
        self._lock = threading.RLock()
        self._spawning = threading.Lock()
        self._boots = self._paths.folder / "boots"

    @property
    def is_up(self) -> bool:
        """Whether Windows runs."""
        return self._server is not None and self._server.poll() is None

    @property
    def boot_count(self) -> int:
        """How often this host was booted since it was made."""
        return int(self._boots.read_text()) if self._boots.exists() else 0

    def boot(self) -> None:
        """Runs the boot step, starts Windows and waits until the services that start by themselves have started."""
        with self._lock:
            if self.is_up:
                return
            for line in facts.boot_step(self._paths):
                self._log(f"boot step: {line}")
            self._empty_spool()
            self._server = server = self._popen([self._wine.server, "-f", "-p"], debug="-all")
            wait_until(lambda: server_listens(server.pid), SERVER_S)
            with self._paths.services_log.open("ab") as stream:
                # Services inherit the streams of the first program of a boot: this is where the event log comes from.
                first = self._popen([self._wine.loader, LABCTL, "service", "autostart"], debug=f"-all,{CHANNELS}", stderr=stream)
                try:
                    first.wait(AUTOSTART_S)
                except subprocess.TimeoutExpired:
                    # Windows lets nobody wait for a service that cannot start, and services.exe answers nobody meanwhile.
                    self._log(f"a service has not started within {AUTOSTART_S:.0f} s, see {self._paths.services_log}")
            if not self.is_up:
                raise LabError(f"the host did not boot, see {self._paths.services_log}")
            self._boots.write_text(str(self.boot_count + 1))
            self._log(f"booted, boot {self.boot_count}")

    def shut_down(self) -> None:
        """Tells the services, then ends every process: an orderly end. What does not end by itself in time is killed."""
        with self._lock:
            if self.is_up:
                with contextlib.suppress(LabError, subprocess.TimeoutExpired):
                    self._log(f"services were told to stop: {self.ask(['service', 'shutdown'], timeout=SHUTDOWN_S)}")
            self._end()

    def power_cut(self) -> None:
        """Kills every process at once, without a word to any of them.

        The wineserver goes last and writes the registry: Windows' registry has a transaction log and survives a power cut
        up to the last change but a few seconds; Wine's own file is written every 30 s only and would lose a service that
        was installed well before.
        """
        with self._lock:
            self._end()

    def _end(self) -> None:
        server = self._server
        kept = {server.pid} if server is not None else set()
        kill_until_gone(lambda: descendants(os.getpid()) - kept)
        if server is not None:
            server.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(15)
        left = kill_until_gone(lambda: descendants(os.getpid()))
        if left:
            raise LabError(f"processes {sorted(left)} cannot be ended")
        if server is not None:
            server.wait()
            self._server = None
            self._log("off")

    def _empty_spool(self) -> None:
        self._paths.spool.mkdir(parents=True, exist_ok=True)
        for path in self._paths.spool.iterdir():
            path.unlink()

    def _popen(self, argv: list[str], *, debug: str = "-all", stdin: Stream = None, stdout: Stream = None, stderr: Stream = None) -> Popen:
        # Under the lock: reap() must not collect a child before it is known here.
        with self._spawning:
            process = subprocess.Popen(
                argv,
                env=self._wine.environment(self._paths.prefix, debug=debug),
                cwd=self._paths.drive_c,
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=subprocess.DEVNULL if stdout is None else stdout,
                stderr=subprocess.DEVNULL if stderr is None else stderr,
            )
            self._children = [child for child in self._children if child.returncode is None] + [process]
        return process

    def start(
        self,
        command_line: str,
        *,
        folder: str = "",
        environment: Mapping[str, str] | None = None,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        console: bool = False,
        code_page: int = 0,
        timeout: float = 60.0,
    ) -> Command:
        """Starts a finished command line. ``console`` gives it a console of its own, so that Ctrl+C can reach it.

        ``code_page`` is that console's (0: as it is); ``timeout`` is for the start alone. Raises CommandError when there is nothing
        to start.
        """
        strings = [command_line, folder, str(code_page), *(f"{name}={value}" for name, value in (environment or {}).items())]
        command = self._launch(strings, console, stdin, stdout, stderr)
        if command.wait_for_start(timeout):
            return command
        for stream in (command.process.stdin, command.process.stdout, command.process.stderr):
            if stream is not None:
                stream.close()
        again = self._launch(strings, console, stdin, stdout, stderr)  # as in ask()
        again.wait_for_start(timeout)
        return again

    def _launch(self, strings: list[str], console: bool, stdin: Stream, stdout: Stream, stderr: Stream) -> Command:
        if not self.is_up:
            raise HostDownError("the host is off")
        number = next(self._numbers)
        event = f"lab-control-c-{number}" if console else ""
        specification = self._paths.spool / f"{number}.spec"
        result = self._paths.spool / f"{number}.exit"
        command_line, folder, code_page, *environment = strings
        specified = [command_line, folder, rf"C:\lab\run\{number}.exit", event, code_page, *environment]
        specification.write_bytes(("\0".join(specified) + "\0").encode("utf-16-le", "surrogatepass"))
        process = self._popen([self._wine.loader, LABCTL, "exec", rf"C:\lab\run\{number}.spec"], stdin=stdin, stdout=stdout, stderr=stderr)
        return Command(command_line, process, specification, result, event)

    def ask(self, arguments: list[str], *, timeout: float = 180.0) -> t.Any:
        """Runs labctl with these arguments and gives its JSON answer; raises LabError when it names an error."""
        if not self.is_up:
            raise HostDownError("the host is off")
        # Of ten thousand programs that start on a busy machine Wine loses one before it has begun: exit code 1, without a word.
        output = self._output_of(arguments, timeout) or self._output_of(arguments, timeout)
        try:
            answer = json.loads(output)
        except ValueError:
            raise LabError(f"labctl {' '.join(arguments)} gave no answer but {output!r}") from None
        if isinstance(answer, dict) and "error" in answer:
            raise LabError(f"labctl {' '.join(arguments)}: {answer['what']} failed with Win32 error {answer['error']}")
        return answer

    def _output_of(self, arguments: list[str], timeout: float) -> bytes:
        process = self._popen([self._wine.loader, LABCTL, *arguments], stdout=subprocess.PIPE)
        try:
            return process.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise LabError(f"labctl {' '.join(arguments)} did not answer within {timeout:.0f} s") from None

    def send_control_c(self, command: Command) -> None:
        """Sends Ctrl+C to a command that was started with a console."""
        self.ask(["control-c", command.control_c])

    def reap(self) -> None:
        """Collects ended Wine processes that became children of this one, but not those that a Popen object waits for."""
        with self._spawning:
            reap_strangers({child.pid for child in self._children})

    def wait_until_off(self, timeout: float) -> bool:
        """Waits for the end of Windows."""
        return wait_until(lambda: not self.is_up, timeout)
