# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""How does a program on the host get its input, and how does its output come back?

Two answers: over the connection ``hotpatch.windows.winrs`` it is started directly; over every connection with PowerShell the
module ``hotpatch.windows.agent_call`` starts it. Nothing above this file knows which one is in use.
"""

from __future__ import annotations

import re
import secrets
import typing as t
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible.errors import AnsibleConnectionFailure, AnsibleError

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

SERVICE: t.Final = "hotpatch-agent"
PROGRAM: t.Final = "hotpatch-agent.exe"
Progress = Callable[[int], None]

# An exit code of our own command line, outside those of the agent (0, 1, 2).
_MISSING: t.Final = 39
_IMAGE_PATH: t.Final = re.compile(r"ImagePath\s+REG_(?:EXPAND_)?SZ\s+(.+)", re.IGNORECASE)
_SERVICE_KEY: t.Final = rf"HKLM\SYSTEM\CurrentControlSet\Services\{SERVICE}"
_CHUNK: t.Final = 1024 * 1024


@dataclass(frozen=True)
class Completed:
    """A program that ran to its end."""

    exit_code: int
    stdout: bytes
    stderr: str


@dataclass(frozen=True)
class Missing:
    """The program is not on the host."""

    service_image: str
    """The command line of the installed service, empty when there is none."""


class Carrier(t.Protocol):
    """What the session needs of a connection. Every method raises AnsibleConnectionFailure when the host is gone."""

    streams_files: bool
    """Whether :meth:`run` may be given a file as input; otherwise files go through :meth:`upload`."""

    @property
    def reached(self) -> bool:
        """Whether the host has answered in this task, so that a failure now means a connection lost, not a host that is down."""

    def run(self, program: str, arguments: Sequence[str], stdin: bytes | Path, progress: Progress | None = None) -> Completed | Missing:
        """Run a program of the host (environment variables in its path are expanded there) to its end."""

    def shell(self, command: str) -> Completed:
        """Run a command line of the user's in the connection's own shell."""

    def upload(self, source: Path, name: str, progress: Progress | None = None) -> str:
        """Copy a file into a folder that only administrators can write, made for this task; returns its path on the host."""

    def clean(self) -> None:
        """Remove that folder."""

    def reset(self) -> None:
        """Give up the present connection; the next call makes a new one."""


class ProgramConnection(t.Protocol):
    """The part of the connection ``hotpatch.windows.winrs`` that is used here."""

    environment: dict[str, str]
    established: bool

    def run_program(
        self, command: str, stdin: t.Any = (), *, sink: t.Any = None, progress: Progress | None = None
    ) -> tuple[int, bytes, bytes]: ...

    def put_stream(self, source: Path, destination: str, progress: Progress | None = None) -> None: ...

    def reset(self) -> None: ...


class WinrsCarrier:
    """Starts programs directly in a WinRS shell."""

    streams_files = True

    def __init__(self, connection: ProgramConnection) -> None:
        self._connection = connection
        self._folder = ""

    @property
    def reached(self) -> bool:
        """Whether a shell was open on the host."""
        return self._connection.established

    def run(self, program: str, arguments: Sequence[str], stdin: bytes | Path, progress: Progress | None = None) -> Completed | Missing:
        """One command line both looks for the program and runs it, so that the usual case is a single round trip."""
        command = (
            f'if exist "{program}" ("{program}" {" ".join(arguments)}) '
            f'else (reg query "{_SERVICE_KEY}" /v ImagePath 2>nul & exit {_MISSING})'
        )
        code, stdout, stderr = self._connection.run_program(command, _pieces(stdin), progress=progress)
        if code == _MISSING:
            found = _IMAGE_PATH.search(stdout.decode("utf-8", "replace"))
            return Missing(found[1].strip() if found else "")
        return Completed(code, stdout, stderr.decode("utf-8", "replace").strip())

    def shell(self, command: str) -> Completed:
        """Run a command line in cmd.exe."""
        code, stdout, stderr = self._connection.run_program(command)
        return Completed(code, stdout, stderr.decode("utf-8", "replace").strip())

    def upload(self, source: Path, name: str, progress: Progress | None = None) -> str:
        """The inner folder is made after the outer one was closed to others, so nobody can have put anything into it."""
        if not self._folder:
            self._folder = self._private_folder()
        path = rf"{self._folder}\private\{name}"
        try:
            self._connection.put_stream(source, path, progress)
        except AnsibleConnectionFailure:
            raise
        except AnsibleError as error:
            raise HotpatchError("store_disk_full" if _looks_full(str(error)) else "agent_internal", str(error), where=path) from error
        return path

    def _private_folder(self) -> str:
        name = f"hotpatch-{secrets.token_hex(8)}"
        folder = rf"%TEMP%\{name}"
        # Administrators and SYSTEM by their well-known ids: their names differ from language to language.
        rights = "*S-1-5-32-544:(OI)(CI)F *S-1-5-18:(OI)(CI)F"
        close = f'icacls "{folder}" /inheritance:r /grant:r {rights} /q >nul'
        done = self.shell(rf'mkdir "{folder}" && {close} && mkdir "{folder}\private" && echo "{folder}"')
        path = done.stdout.decode("utf-8", "replace").strip().strip('"')
        if done.exit_code != 0 or not path.endswith(name):
            raise HotpatchError("access_denied", f"The account cannot make a folder on the host: {done.stderr}", where=folder)
        return path

    def clean(self) -> None:
        """Remove the folder made for this task."""
        if self._folder:
            folder, self._folder = self._folder, ""
            self.shell(f'rmdir /s /q "{folder}"')

    def reset(self) -> None:
        """Close the shell."""
        self._connection.reset()


class PowerShellAction(t.Protocol):
    """The part of an action plugin that carries programs over a PowerShell connection."""

    def execute_module(self, module: str, arguments: dict[str, t.Any]) -> dict[str, t.Any]: ...

    def run_shell(self, command: str) -> tuple[int, str, str]: ...

    def transfer(self, source: Path, name: str) -> str: ...

    def reset_connection(self) -> None: ...


class PowerShellCarrier:
    """Starts programs by the module ``hotpatch.windows.agent_call``: with become, environment and no_log."""

    streams_files = False

    def __init__(self, action: PowerShellAction) -> None:
        self._action = action
        self.reached = False
        """Whether a program has run on the host."""

    def run(self, program: str, arguments: Sequence[str], stdin: bytes | Path, progress: Progress | None = None) -> Completed | Missing:
        """The request and the reply pass through PowerShell as strings that it does not look into."""
        del progress
        if isinstance(stdin, Path):
            raise TypeError("files go through upload() on this carrier")
        answer = self._action.execute_module(
            "hotpatch.windows.agent_call", {"path": program, "arguments": list(arguments), "request": stdin.decode("ascii")}
        )
        if answer.get("unreachable"):
            raise AnsibleConnectionFailure(str(answer.get("msg", "")))
        if answer.get("failed"):
            raise HotpatchError("agent_internal", f"The host could not run the agent: {answer.get('msg', '')}", where=program)
        self.reached = True
        if answer.get("missing"):
            return Missing(str(answer.get("service_image") or ""))
        stdout = str(answer.get("stdout") or "")
        try:
            raw = stdout.encode("ascii")
        except UnicodeEncodeError as error:
            raise HotpatchError("protocol_malformed", "The reply holds characters that are not ASCII.", where=program) from error
        return Completed(int(answer.get("agent_exit_code", -1)), raw, str(answer.get("stderr") or "").strip())

    def shell(self, command: str) -> Completed:
        """Run a command line in the host's PowerShell."""
        code, stdout, stderr = self._action.run_shell(command)
        return Completed(code, stdout.encode("utf-8"), stderr.strip())

    def upload(self, source: Path, name: str, progress: Progress | None = None) -> str:
        """Ansible's own temporary folder of the task, which only the account and administrators can write."""
        path = self._action.transfer(source, name)
        if progress is not None:
            progress(source.stat().st_size)
        return path

    def clean(self) -> None:
        """Ansible removes the temporary folder itself."""

    def reset(self) -> None:
        """Close the connection."""
        self._action.reset_connection()


def _pieces(stdin: bytes | Path) -> Iterator[bytes]:
    if isinstance(stdin, bytes):
        yield stdin
        return
    with stdin.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece


def _looks_full(message: str) -> bool:
    """Programs of Windows say it in words only, and in the language of the host; these are English and Win32's code."""
    return any(sign in message.lower() for sign in ("no space left", "not enough space", "disk full", "error 112"))
