# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host without a host: a carrier that answers the protocol from functions, and actions that run on it."""

from __future__ import annotations

import json
import typing as t
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.hotpatch.windows.plugins.plugin_utils._action import AgentAction
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.carriers import Completed, Missing, Progress
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.session import AgentSession, Settings
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

Json = dict[str, t.Any]
Handler = Callable[[Json, bool], Json]

SERVICE_SHA = "b" * 64
SERVICE_PROGRAM = rf"C:\ProgramData\hotpatch.windows\agent\{SERVICE_SHA}\hotpatch-agent.exe"


@dataclass
class Call:
    """One request as it reached the host."""

    program: str
    operation: str
    arguments: Json
    dry_run: bool


@dataclass
class FakeHost:
    """A host's agent as functions by operation; ``programs`` are the paths that exist on it."""

    handlers: dict[str, Handler] = field(default_factory=dict)
    programs: set[str] = field(default_factory=set)
    service_image: str = ""
    build: str = "lab"
    mode: str = "resident"
    sha256: str = "a" * 64
    streams_files: bool = True
    reached: bool = True
    calls: list[Call] = field(default_factory=list)
    runs: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    put: list[tuple[str, bytes]] = field(default_factory=list)
    uploaded: list[str] = field(default_factory=list)
    cleaned: int = 0
    resets: int = 0
    gone: int = 0
    """How many of the next runs find no host."""
    not_started: int = 0
    """How many of the next runs end before the program has begun."""
    commands: dict[str, Completed] = field(default_factory=dict)
    raw: bytes | None = None
    """Answers this instead of a reply."""

    def operations(self) -> list[str]:
        """The operations in the order in which they were asked for."""
        return [call.operation for call in self.calls]

    def changes(self) -> list[str]:
        """The operations that would have changed a real host."""
        reading = {"host_info", "store_query", "trust_get", "preflight", "job_status", "boot_id"}
        return [call.operation for call in self.calls if not call.dry_run and call.operation not in reading]

    # -- the carrier --------------------------------------------------------------------------------------------------------

    def run(self, program: str, arguments: Sequence[str], stdin: bytes | Path, progress: Progress | None = None) -> Completed | Missing:
        del progress
        if self.gone:
            self.gone -= 1
            raise AnsibleConnectionFailure("the host is gone")
        self.runs.append((program, tuple(arguments)))
        if self.not_started:
            self.not_started -= 1
            return Completed(9009, b"", "Can't recognize it as an internal or external command")
        if program not in self.programs:
            return Missing(self.service_image)
        if arguments[0] == "version":
            return Completed(0, json.dumps(self._agent()).encode(), "")
        if arguments[0] == "put":
            assert isinstance(stdin, Path)
            self.put.append((arguments[2], stdin.read_bytes()))
            return self._reply("result", {"sha256": arguments[2], "size": int(arguments[4]), "changed": True})
        assert isinstance(stdin, bytes)
        if self.raw is not None:
            return Completed(0, self.raw, "")
        return self._call(program, json.loads(stdin))

    def _call(self, program: str, request: Json) -> Completed:
        call = Call(program, request["operation"], request["arguments"], request["dry_run"])
        self.calls.append(call)
        if call.operation == "boot_id" and "boot_id" not in self.handlers:
            return self._reply("result", {"boot_id": "boot-1"})
        try:
            return self._reply("result", self.handlers[call.operation](call.arguments, call.dry_run))
        except HotpatchError as error:
            return self._reply("error", error.as_dict())

    def _agent(self) -> Json:
        return {"version": "0.1.0", "build": self.build, "mode": self.mode, "sha256": self.sha256}

    def _reply(self, key: str, value: Json) -> Completed:
        document = {"protocol": 1, "agent": self._agent(), key: value}
        return Completed(0 if key == "result" else 1, json.dumps(document).encode(), "")

    def shell(self, command: str) -> Completed:
        return self.commands[command]

    def upload(self, source: Path, name: str, progress: Progress | None = None) -> str:
        del progress
        path = rf"C:\Temp\private\{name}"
        self.uploaded.append(str(source))
        self.programs.add(path)
        return path

    def clean(self) -> None:
        self.cleaned += 1

    def reset(self) -> None:
        self.resets += 1


def answers(**by_operation: Json | HotpatchError) -> dict[str, Handler]:
    """Handlers that always give the same answer."""

    def handler(answer: Json | HotpatchError) -> Handler:
        def answer_it(_arguments: Json, _dry_run: bool) -> Json:
            if isinstance(answer, HotpatchError):
                raise answer
            return answer

        return answer_it

    return {operation: handler(answer) for operation, answer in by_operation.items()}


def own_program(agent: Path) -> str:
    """Where the controller's agent is expected on the host."""
    session = AgentSession(FakeHost(), Settings(agent))
    return rf"%ProgramData%\hotpatch.windows\agent\{session.own_sha256()}\hotpatch-agent.exe"


def run_action(
    action: type[AgentAction],
    host: FakeHost,
    arguments: Mapping[str, t.Any],
    *,
    agent: Path,
    check: bool = False,
    diff: bool = False,
    variables: Mapping[str, t.Any] | None = None,
) -> Json:
    """Run an action plugin on a fake host, as Ansible would."""
    task = SimpleNamespace(args=dict(arguments), async_val=0, check_mode=check, diff=diff, delegate_to=None, action="test")
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None), become=None, transport="fake")
    templar = SimpleNamespace(template=lambda value: value)
    shown: list[str] = []

    def find_file(_self: AgentAction, name: str, option: str = "src") -> Path:
        if not Path(name).is_file():
            raise HotpatchError("argument_invalid", f"The file '{name}' was not found on the controller.", where=option)
        return Path(name)

    replaced = {
        "_carrier": lambda _self: host,
        "find_file": find_file,
        "module_name": classmethod(lambda _cls: action.module_name()),
        "say": lambda _self, message: shown.append(message),
    }
    plugin = type("OnFakeHost", (action,), replaced)(task, connection, None, None, templar)
    known = {"inventory_hostname": "web1", "hotpatch_windows_agent_path": str(agent), "hotpatch_windows_lab": True, **(variables or {})}
    result = t.cast(Json, plugin.run(task_vars=known))
    result["shown"] = shown
    return result
