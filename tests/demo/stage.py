# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the demo speaks to the reader, runs playbooks and keeps what was proven."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)")
_PLAYBOOK_LIMIT_S = 1200.0
_LONGEST_WORD = 60


class DemoError(Exception):
    """A claim of the demo did not hold."""


@dataclass(frozen=True)
class Run:
    """What a playbook printed, and its counts for each host: ok, changed, unreachable, failed."""

    code: int
    output: str
    log: Path
    recap: dict[str, tuple[int, int, int, int]]

    @property
    def changed(self) -> int:
        """Changed tasks of all hosts."""
        return sum(counts[1] for counts in self.recap.values())


@dataclass
class Stage:
    """Prints the acts of the demo, keeps the logs in ``folder`` and the list of what was proven."""

    folder: Path
    proven: list[str] = field(default_factory=list)
    _acts: int = 0
    _begin: float = field(default_factory=time.monotonic)

    def act(self, title: str, *explanation: str) -> None:
        """Begins the next act."""
        self._acts += 1
        print(f"\n\033[1;34m{self._acts}. {title}\033[0m", flush=True)
        for line in explanation:
            print(f"   {line}", flush=True)

    def say(self, text: str) -> None:
        """One line of progress."""
        print(f"   \033[2m[{time.monotonic() - self._begin:5.1f} s]\033[0m {text}", flush=True)

    def prove(self, claim: str, holds: bool, evidence: str = "") -> None:
        """Records a claim that was just checked on the hosts; a claim that does not hold ends the demo."""
        text = f"{claim}{f' ({evidence})' if evidence else ''}"
        if not holds:
            raise DemoError(text)
        self.proven.append(text)
        print(f"   \033[32m✓\033[0m {text}", flush=True)

    def playbook(self, name: str, inventory: Path, variables: Mapping[str, str], *options: str, expect: int = 0) -> Run:
        """Runs ``hotpatch.windows.<name>`` as a user would, shows its tasks as they go, and gives what it printed."""
        arguments = [str(Path(sys.executable).parent / "ansible-playbook"), f"hotpatch.windows.{name}", "-i", str(inventory), *options]
        for key, value in variables.items():
            arguments += ["-e", f"{key}={value}"]
        words = ("…" if len(option) > _LONGEST_WORD else option for option in options)
        shown = " ".join(["ansible-playbook", f"hotpatch.windows.{name}", "-i", inventory.name, *words])
        self.say(f"\033[1m{shown}\033[0m")
        log = self.folder / f"{self._acts}-{name}-{len(list(self.folder.glob('*.log')))}.log"
        output = self._follow(arguments, log)
        recap = {
            match[1]: (int(match[2]), int(match[3]), int(match[4]), int(match[5])) for match in map(_RECAP.match, output.lines) if match
        }
        run = Run(output.code, "\n".join(output.lines), log, recap)
        for host, (ok, changed, unreachable, failed) in recap.items():
            self.say(f"  {host:<12} ok={ok} changed={changed} unreachable={unreachable} failed={failed}")
        if run.code != expect:
            print("\n".join(output.lines[-40:]), file=sys.stderr)
            raise DemoError(f"{shown} ended with {run.code}; its output is {log}")
        return run

    def _follow(self, arguments: list[str], log: Path) -> _Output:
        environment = {
            **os.environ,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "0",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
            "ANSIBLE_LOCALHOST_WARNING": "0",
        }
        lines: list[str] = []
        deadline = time.monotonic() + _PLAYBOOK_LIMIT_S
        with (
            log.open("w") as file,
            subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
            ) as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                lines.append(line.rstrip("\n"))
                if " (progress) " in line or line.startswith(("changed: [", "fatal: [")):
                    self.say(f"  {line.rstrip()[:110]}")
                if time.monotonic() > deadline:
                    process.terminate()
        return _Output(process.returncode, lines)

    def summary(self, report: Path) -> None:
        """Ends the demo: everything that was proven, and where the report is."""
        print(f"\n\033[1mProven in {time.monotonic() - self._begin:.0f} seconds:\033[0m")
        for claim in self.proven:
            print(f"  \033[32m✓\033[0m {claim}")
        print(f"\nThe report of the fleet: {report}\nLogs of every playbook:  {self.folder}")


@dataclass(frozen=True)
class _Output:
    code: int
    lines: list[str]
