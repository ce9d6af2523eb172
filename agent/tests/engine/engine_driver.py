# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How do the engine's tests run Windows programs: the engine's test tool and the target, both on Wine?

Every wait is bounded. Whatever a test starts ends with the test, by the handle of the process that was started here.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import subprocess
import threading
import time
import typing as t
from pathlib import Path

WINE: t.Final = "/usr/lib/wine/wine64"
WINESERVER: t.Final = "/usr/lib/wine/wineserver64"
ANSWER_SECONDS: t.Final = 180.0
KILLED: t.Final = 99  # the exit code of an engine that died at a fault point

JSON: t.TypeAlias = dict[str, t.Any]


class Lines:
    """A Windows program that answers each line with a line."""

    def __init__(self, prefix: Prefix, arguments: list[str], environment: dict[str, str] | None = None, *, nice: int = 0) -> None:
        self.process = subprocess.Popen(
            ["nice", "-n", str(nice), WINE, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            restore_signals=False,  # a file that may not grow is an error of the write, not the end of the program
            env=prefix.environment | (environment or {}),
            cwd=prefix.folder,
        )
        self.patience = ANSWER_SECONDS  # for one answer
        self._answers: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._answers.put(line.decode(errors="replace").strip())
        self._answers.put(None)

    def write(self, line: str) -> None:
        """Sends a line and does not wait."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()

    def read(self, seconds: float | None = None) -> str | None:
        """The next line, or None when the program has ended."""
        try:
            return self._answers.get(timeout=seconds or self.patience)
        except queue.Empty as error:
            raise AssertionError(f"no answer within {seconds or self.patience} s") from error

    def wait(self, seconds: float = ANSWER_SECONDS) -> int:
        """The exit code."""
        return self.process.wait(seconds)

    def end(self) -> None:
        """Ends the program if it still runs."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


class Target(Lines):
    """The program that is patched."""

    def __init__(self, prefix: Prefix, *modules: str) -> None:
        # Its threads call without pause: beside hundreds of them the engine and Wine's server would have a hundredth of a processor.
        super().__init__(prefix, [str(prefix.folder / "engine-target.exe")], nice=19)
        self.pid = int(self.read() or "0")
        for module in modules:
            assert self.ask(f"load {module}") == "loaded"

    def ask(self, line: str) -> str:
        """The answer to a command."""
        self.write(line)
        answer = self.read()
        assert answer is not None, f"the target ended at {line!r} with {self.process.wait(10)}"
        return answer

    def counts(self) -> tuple[int, int]:
        """Calls made so far by the target's threads, and how many of them gave a wrong answer."""
        calls, bad = self.ask("count").split()
        return int(calls), int(bad)

    def usage(self) -> dict[str, int]:
        """What the target holds: handles, committed private bytes, of these executable, bytes both writable and executable, threads."""
        names = ("handles", "committed", "executable", "writable_code", "threads")
        return dict(zip(names, map(int, self.ask("usage").split()), strict=True))


class Outsider(Lines):
    """Another program that does things to the target."""

    def __init__(self, prefix: Prefix) -> None:
        super().__init__(prefix, [str(prefix.folder / "engine-outsider.exe")])
        self.pid = int(self.read() or "0")

    def ask(self, line: str) -> str:
        """The answer to a command."""
        self.write(line)
        answer = self.read()
        assert answer is not None, f"the program ended at {line!r}"
        return answer

    def counts(self, pid: int) -> dict[int, int]:
        """The suspend count of each thread of a process."""
        pairs = (pair.split(":") for pair in self.ask(f"counts {pid}").split())
        return {int(thread): int(count) for thread, count in pairs}


class Engine(Lines):
    """The engine, opened on one journal."""

    def __init__(self, prefix: Prefix, journal: str, environment: dict[str, str] | None = None) -> None:
        super().__init__(prefix, [str(prefix.folder / "engine-tool.exe"), prefix.windows_path(journal)], environment)

    def request(self, op: str, **arguments: t.Any) -> JSON:
        """One request and its reply; a reply with `error` when the engine could not be opened."""
        self.write(json.dumps({"op": op, **arguments}))
        answer = self.read()
        assert answer is not None, f"the engine ended at {op} with {self.process.wait(10)}"
        return t.cast(JSON, json.loads(answer))

    def begin(self, op: str, **arguments: t.Any) -> None:
        """Sends a request whose reply is read later."""
        self.write(json.dumps({"op": op, **arguments}))

    def end_of(self) -> JSON:
        """The only process of the reply to what was begun."""
        processes = json.loads(self.read() or "{}")["processes"]
        assert len(processes) == 1, processes
        return t.cast(JSON, processes[0])

    def one(self, op: str, **arguments: t.Any) -> JSON:
        """The only process of the reply."""
        reply = self.request(op, **arguments)
        processes = reply.get("processes")
        assert processes is not None, reply
        assert len(processes) == 1, processes
        return t.cast(JSON, processes[0])


class Hold:
    """Where an engine waits: it makes a file there and goes on when the file is gone."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def wait(self) -> None:
        """Until the engine is there."""
        for _ in range(int(ANSWER_SECONDS / 0.02)):
            if self.file.exists():
                return
            time.sleep(0.02)
        raise AssertionError("the engine did not come to the place")

    def release(self) -> None:
        """Lets it go on."""
        self.file.unlink()


class Prefix:
    """One Wine prefix with the test programs, and everything a test started in it."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = root
        self.folder = folder
        self.environment = os.environ | {"WINEPREFIX": str(root), "WINEDEBUG": "-all", "DISPLAY": "", "WINEDLLOVERRIDES": "mscoree,mshtml="}
        self._started: list[Lines] = []

    def windows_path(self, name: str) -> str:
        """The path of a file in the test's folder as Windows programs see it."""
        return "Z:" + str(self.folder / name).replace("/", "\\")

    def target(self, *modules: str) -> Target:
        """Starts the target with these modules loaded (the sample when none is named)."""
        target = Target(self, *(modules or (self.windows_path("sample.dll"),)))
        self._started.append(target)
        return target

    def outsider(self) -> Outsider:
        """Starts the program that does things to others."""
        outsider = Outsider(self)
        self._started.append(outsider)
        return outsider

    def holding_engine(self, place: str, journal: str = "journal.log", **environment: str) -> tuple[Engine, Hold]:
        """An engine that waits at a place of its work until the test lets it go on."""
        hold = Hold(self.folder / "hold")
        name = self.windows_path(hold.file.name)
        return self.engine(journal, HOTPATCH_HOLD_AT=place, HOTPATCH_HOLD_FILE=name, **environment), hold

    def engine(self, journal: str = "journal.log", **environment: str) -> Engine:
        """Opens an engine."""
        engine = Engine(self, journal, environment)
        self._started.append(engine)
        return engine

    def end(self) -> None:
        """Ends what the test started."""
        for program in reversed(self._started):
            program.end()

    def for_test(self, programs: Path, folder: Path) -> Prefix:
        """The same prefix with the programs in a folder of the test's own."""
        for program in programs.iterdir():
            if program.is_file():
                shutil.copy2(program, folder)
        return Prefix(self.root, folder)


def released(engine: Engine, target: Target, executable: int) -> bool:
    """Whether the memory of new code is given back within a bounded number of the watch's rounds.

    A stack may still hold an old return address by chance when a patch goes; its region is then freed by a later round. That may be
    the stack of a thread that has ended, too.
    """
    for _ in range(50):
        target.ask("turnover")
        if target.usage()["executable"] == executable:
            return True
        engine.request("watch", payloads=[])
        time.sleep(0.05)
    return False
