# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How is a program started in a Wine prefix, and how does everything of a prefix end for certain?"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import time
import typing as t
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
CAP_DAC_OVERRIDE = 1
CAP_FOWNER = 3

_LOADERS = ("/usr/lib/wine/wine64", "/usr/bin/wine64", "/opt/wine-stable/bin/wine64")
_SERVERS = ("/usr/lib/wine/wineserver64", "/usr/lib/wine/wineserver", "/usr/bin/wineserver", "/opt/wine-stable/bin/wineserver")
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """The lab could not do what it was asked; the text says what and where to look."""


def prctl(option: int, argument: int) -> None:
    """Calls prctl(2) and raises OSError when the kernel refuses."""
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl({option}, {argument}): {os.strerror(error)}")


def _first_existing(candidates: tuple[str, ...], name: str) -> str:
    for candidate in candidates:
        if Path(candidate).exists():
            return candidate
    found = shutil.which(name)
    if found is None:
        raise LabError(f"{name} was not found; on Debian: apt-get install wine64 libgnutls30")
    return found


@dataclass(frozen=True)
class Wine:
    """Wine as installed on this machine."""

    loader: str
    server: str

    @staticmethod
    def find() -> Wine:
        """Looks in the usual places; raises LabError when Wine is not installed."""
        return Wine(_first_existing(_LOADERS, "wine64"), _first_existing(_SERVERS, "wineserver"))

    def environment(self, prefix: Path, *, debug: str = "-all") -> dict[str, str]:
        """The whole environment of a program in ``prefix``: nothing of the caller's own environment reaches a host."""
        return {
            "HOME": str(prefix),
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "WINEPREFIX": str(prefix),
            "WINEARCH": "win64",
            "WINESERVER": self.server,
            "WINEDEBUG": debug,
            "WINEDLLOVERRIDES": "winemenubuilder.exe,mscoree,mshtml=d",
            "DISPLAY": "",
        }


def server_listens(pid: int) -> bool:
    """Whether a wineserver has made its socket, in the folder that it works in.

    A program of its prefix that starts earlier starts a server of its own, and gives up when the two meet.
    """
    return Path(f"/proc/{pid}/cwd/socket").exists()


def remove_server_folder(prefix: Path) -> None:
    """Removes what the wineserver of a prefix, which has ended, kept outside it: on Debian a folder that the prefix names."""
    name = prefix / "wineserver"
    if name.exists() and (folder := Path("/tmp") / name.read_text()).name.startswith("wine-"):
        name.unlink()
        shutil.rmtree(folder, ignore_errors=True)


def give_up_override() -> None:
    """Makes root an ordinary owner of files in every program that this process starts from now on.

    Hosts share the template's files by hard links. They are read-only and belong to another user, so a host that opens one
    for writing is refused, as Windows refuses writes to files of TrustedInstaller; root would be let through without this.
    """
    if os.geteuid() == 0:
        prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE)
        prctl(PR_CAPBSET_DROP, CAP_FOWNER)


def run(wine: Wine, prefix: Path, argv: list[str], *, timeout: float = 120.0) -> subprocess.CompletedProcess[bytes]:
    """Runs a Windows program to its end, without a host around it (for building the template)."""
    return subprocess.run(
        [wine.loader, *argv],
        env=wine.environment(prefix),
        cwd=prefix,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )


def _stat_of(pid: int) -> tuple[str, int] | None:
    """State letter and parent of a process, None when it has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def _process_ids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def living_processes() -> dict[int, int]:
    """Every process of the machine that is no zombie, with its parent."""
    table: dict[int, int] = {}
    for pid in _process_ids():
        if (stat := _stat_of(pid)) is not None and stat[0] not in "ZX":
            table[pid] = stat[1]
    return table


def descendants(root: int) -> set[int]:
    """Every living process below ``root``, without ``root`` itself."""
    children: dict[int, list[int]] = {}
    for pid, parent in living_processes().items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = [root]
    while waiting:
        for child in children.get(waiting.pop(), []):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def processes_of_prefix(prefix: Path) -> set[int]:
    """Every living process that was started with this WINEPREFIX, whoever its parent is now."""
    wanted = f"WINEPREFIX={prefix}".encode()
    found: set[int] = set()
    for pid in living_processes():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environment.split(b"\0"):
            found.add(pid)
    return found


def kill_until_gone(find: Callable[[], set[int]], *, timeout: float = 10.0) -> set[int]:
    """Kills what ``find`` names until it names nothing (a process may start another while it is being killed).

    Returns what still lives at the end: empty unless the kernel holds on to a process.
    """
    end = time.monotonic() + timeout
    while (alive := find()) and time.monotonic() < end:
        for pid in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return alive


def reap_strangers(known: set[int]) -> None:
    """Collects ended children that nobody waits for: a subreaper inherits every orphan below it."""
    me = os.getpid()
    for pid in _process_ids():
        if pid not in known and _stat_of(pid) == ("Z", me):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether time is left: for loops that wait for something and must end."""
    end = time.monotonic() + seconds
    yield lambda: time.monotonic() < end


def wait_until(condition: Callable[[], t.Any], timeout: float, *, interval: float = 0.02) -> bool:
    """Asks ``condition`` until it is true or the time is over; returns whether it became true."""
    with deadline(timeout) as time_left:
        while time_left():
            if condition():
                return True
            time.sleep(interval)
    return bool(condition())
