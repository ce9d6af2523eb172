# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How does a test speak to the agent? As the wire does: one document in, one out, an exit code."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import json
import os
import shutil
import time
import typing as t
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.host import Host

Json = dict[str, t.Any]

BUILD = Path(os.environ.get("HOTPATCH_AGENT_PROGRAMS", Path(__file__).resolve().parents[2] / ".build" / "agent"))
"""Where the agent and the programs of its tests were built."""
SENT_AGENT = r"C:\lab\hotpatch-agent.exe"
HOME = r"C:\ProgramData\hotpatch.windows"
SERVICE = "hotpatch-agent"
SERVICE_KEY = rf"HKLM\SYSTEM\CurrentControlSet\Services\{SERVICE}"


def sha256(data: bytes) -> str:
    """The name of an object of the store."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Reply:
    """What one run of the agent gave."""

    document: Json
    exit_code: int

    def result(self) -> Json:
        """The result; an error fails the test with its words."""
        assert "result" in self.document, self.document
        assert self.exit_code == 0
        result: Json = self.document["result"]
        return result

    def error(self) -> Json:
        """The error; a result fails the test."""
        assert "error" in self.document, self.document
        assert self.exit_code == 1
        error: Json = self.document["error"]
        assert error["message"]
        assert error["remedy"]
        return error

    @property
    def code(self) -> str:
        """The error's code."""
        return str(self.error()["code"])


class Agent:
    """The agent on one host."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def raw(self, command: str, stdin: bytes = b"", *arguments: str, timeout: float = 180.0) -> tuple[int, bytes, bytes]:
        """Exit code, standard output, standard error."""
        done = self.host.run([SENT_AGENT, command, *arguments], stdin=stdin, timeout=timeout)
        return done.returncode, done.stdout, done.stderr

    def command(self, command: str, stdin: bytes = b"", *arguments: str, timeout: float = 180.0) -> Reply:
        """A command that answers with a reply: nothing else may be on standard output, and nothing but ASCII in it."""
        code, output, errors = self.raw(command, stdin, *arguments, timeout=timeout)
        assert output.isascii()
        try:
            document: Json = json.loads(output)
        except json.JSONDecodeError as error:
            raise AssertionError(f"exit code {code}, output {output!r}, standard error {errors!r}") from error
        return Reply(document, code)

    def call(self, operation: str, arguments: Json | None = None, *, dry_run: bool = False, timeout: float = 180.0) -> Reply:
        """One operation."""
        request: Json = {"protocol": 1, "operation": operation, "arguments": arguments or {}}
        if dry_run:
            request["dry_run"] = True
        return self.command("call", json.dumps(request).encode(), timeout=timeout)

    def put(self, data: bytes, *, name: str | None = None, size: int | None = None, timeout: float = 180.0) -> Reply:
        """Sends an object; name and size can be said wrongly."""
        announced = str(len(data) if size is None else size)
        return self.command("put", data, "--sha256", name or sha256(data), "--size", announced, timeout=timeout)

    def stored(self) -> dict[str, bytes]:
        """Every file in the store's folder, whatever its name."""
        folder = self.host.path(HOME + r"\store")
        return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}

    def file(self, name: str) -> Path:
        """A file in the agent's folder."""
        return self.host.path(HOME + "\\" + name)

    def wait_for_job(self, job: str, timeout: float = 180.0) -> Json:
        """The job's status once it has ended."""
        return wait_for(lambda: self._ended(job), timeout)

    @contextlib.contextmanager
    def holding(self, name: str) -> Iterator[None]:
        """Another process has a file of the agent's folder open for itself alone meanwhile."""
        shutil.copyfile(BUILD / "hold-file.exe", self.host.path(r"C:\lab\hold-file.exe"))
        release = self.host.path(r"C:\lab\release")
        release.unlink(missing_ok=True)
        arguments = [r"C:\lab\hold-file.exe", HOME + "\\" + name, r"C:\lab\release"]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            holder = pool.submit(self.host.run, arguments, timeout=90)
            try:
                wait_for(self.file(name + ".held").exists)
                yield
            finally:
                release.touch()
        assert holder.result().returncode == 0

    def _ended(self, job: str) -> Json | None:
        status = self.call("job_status", {"job": job}).result()
        return status if status["state"] != "running" else None


def sent(host: Host) -> Agent:
    """The agent as a file on a host, not installed."""
    place = host.path(SENT_AGENT)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(BUILD / "hotpatch-agent-lab.exe", place)
    return Agent(host)


T = t.TypeVar("T")


def wait_for(look: Callable[[], T | None], timeout: float = 120.0) -> T:
    """What ``look`` gives as soon as it is something; the test fails when it stays nothing."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"did not happen within {timeout:.0f} s")
