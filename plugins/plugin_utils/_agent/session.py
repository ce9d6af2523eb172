# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Which agent on the host answers, and what does it say?

The usual case costs one round trip: the agent of this collection's release is expected in its place, by its hash, and asked. Only
when it is not there is the installed service looked at, and only when there is none is the program sent, used and removed.
"""

from __future__ import annotations

import hashlib
import re
import time
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible.errors import AnsibleAuthenticationFailure, AnsibleConnectionFailure

from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.carriers import PROGRAM, Carrier, Completed, Missing, Progress
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.protocol import AgentIdentity, Reply, Request, decode, decode_identity
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

HOME: t.Final = r"%ProgramData%\hotpatch.windows"
# What cmd.exe says of a program that it cannot start. One that was found there a moment ago is held by somebody, such as a scanner,
# or the host is too busy: seen on a host of the lab beside a compiler.
_NOT_STARTED: t.Final = 9009
_START_PAUSE_S: t.Final = 1.0
# The service's image path as agent_install writes it; anything else in that place is not trusted to be the agent.
_IMAGE: t.Final = re.compile(
    r'\A"?([A-Z]:\\[^"<>|&%]*\\hotpatch\.windows\\agent\\[0-9a-f]{64}\\hotpatch-agent\.exe)"?(?:\s+serve)?\s*\Z', re.I
)


@dataclass(frozen=True)
class Settings:
    """What the host's variables say about its agent."""

    agent_path: Path
    """The agent program on the controller; it need not exist as long as it need not be sent."""
    transient: bool = False
    lab: bool = False


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class AgentSession:
    """All that one task does on one host."""

    def __init__(self, carrier: Carrier, settings: Settings) -> None:
        self.carrier = carrier
        self.settings = settings
        self.identity: AgentIdentity | None = None
        """The agent that answered last."""
        self._program = ""
        self._own_program = ""
        self._sent = ""
        self._own_sha256: str | None = None
        self._may_ask_again = True

    # -- requests -----------------------------------------------------------------------------------------------------------

    def call(self, operation: str, arguments: Mapping[str, t.Any] | None = None, *, dry_run: bool = False) -> dict[str, t.Any]:
        """Carry out one operation of the protocol.

        :returns: the reply's result.
        :raises HotpatchError: what the agent answered, or why there is no answer.
        """
        request = Request(operation, arguments or {}, dry_run)
        self._know_agent(request)
        return self._answer(self._ask(request), operation).unwrap()

    def call_own(self, operation: str, arguments: Mapping[str, t.Any], *, dry_run: bool = False) -> dict[str, t.Any]:
        """Carry out an operation by the controller's own agent program, whichever one is installed: to install it."""
        self.own_sha256(required=True)
        request = Request(operation, arguments, dry_run)
        self._know_agent(request, own=True)
        return self._answer(self._run(["call"], request.encode(), request, own=True), operation).unwrap()

    def use_a_copy(self) -> None:
        """Let :meth:`call_own` use a copy sent for this task: a program cannot remove itself while it runs."""
        self._own_program = self._send_program()

    def find_programs(self) -> tuple[bool, str]:
        """Whether the controller's agent is in its place on the host, and the installed service's program (empty: none)."""
        outcome = self.carrier.run(self._expected() or self._nowhere, ["version"], b"")
        return (True, "") if isinstance(outcome, Completed) else (False, installed_program(outcome))

    def put_object(self, source: Path, sha256: str, progress: Progress | None = None) -> dict[str, t.Any]:
        """Bring a file of the controller into the host's store.

        :returns: the result of ``store_import``.
        """
        size = source.stat().st_size
        if not self.carrier.streams_files:
            path = self.carrier.upload(source, sha256, progress)
            return self.call("store_import", {"path": path, "sha256": sha256, "size": size})
        arguments = ["put", "--sha256", sha256, "--size", str(size)]
        request = Request("store_import", {})
        self._know_agent(request)
        return self._answer(self._run(arguments, source, request, progress=progress), "put").unwrap()

    def close(self) -> None:
        """Remove what was sent for this task."""
        self.carrier.clean()

    def _ask(self, request: Request) -> Completed:
        """Send a request; a question whose answer got lost on the way is asked once more, a change never."""
        try:
            completed = self._run(["call"], request.encode(), request)
        except AnsibleAuthenticationFailure:
            raise
        except AnsibleConnectionFailure:
            if not (request.changes_nothing and self.carrier.reached and self._may_ask_again):
                raise
            self._may_ask_again = False  # until the host has answered: who waits for a reboot asks often enough by himself
            self.carrier.reset()
            completed = self._run(["call"], request.encode(), request)
        self._may_ask_again = True
        return completed

    # -- finding the program ------------------------------------------------------------------------------------------------

    _nowhere: t.Final = rf"{HOME}\agent\none\{PROGRAM}"

    def _run(
        self, arguments: list[str], stdin: bytes | Path, request: Request, *, own: bool = False, progress: Progress | None = None
    ) -> Completed:
        if self._program and self._program == self._sent and not own:
            self._permit_sent(request)
        known = self._own_program if own else self._program
        program = known or self._expected() or self._nowhere
        outcome = self._start(program, arguments, stdin, progress)
        if isinstance(outcome, Missing):
            program = self._resolve(outcome, request, own)
            outcome = self._start(program, arguments, stdin, progress)
        if isinstance(outcome, Missing):
            raise HotpatchError("agent_missing", f"The agent's program vanished from the host: {program}", where=program)
        if own:
            self._own_program = program
        else:
            self._program = program
        return outcome

    def _start(self, program: str, arguments: list[str], stdin: bytes | Path, progress: Progress | None) -> Completed | Missing:
        """Run a program; one that is there and did not start, so that nothing happened, is started once more."""
        outcome = self.carrier.run(program, arguments, stdin, progress)
        if isinstance(outcome, Completed) and outcome.exit_code == _NOT_STARTED:
            time.sleep(_START_PAUSE_S)
            outcome = self.carrier.run(program, arguments, stdin, progress)
        return outcome

    def _resolve(self, missing: Missing, request: Request, own: bool) -> str:
        installed = installed_program(missing)
        if installed and not own and installed != self._program:
            return installed
        if not own:
            self._permit_sent(request)
        return self._send_program()

    def _permit_sent(self, request: Request) -> None:
        """A host that is to have a resident agent is changed only by one: what a sent one applies, nobody watches afterwards."""
        if not (self.settings.transient or request.changes_nothing):
            raise HotpatchError(
                "agent_missing",
                f"No agent is installed on the host, and '{request.operation}' changes the host.",
                remedy="Run the role hotpatch.windows.agent, or set hotpatch_windows_agent_mode to 'transient' to send the agent "
                "for each task and remove it again.",
            )

    def _send_program(self) -> str:
        self.own_sha256(required=True)
        self._sent = self.carrier.upload(self.settings.agent_path, PROGRAM)
        return self._sent

    def own_sha256(self, *, required: bool = False) -> str:
        """The hash of the controller's agent program; empty when there is none."""
        if self._own_sha256 is None:
            path = self.settings.agent_path
            self._own_sha256 = file_sha256(path) if path.is_file() else ""
        if required and not self._own_sha256:
            raise HotpatchError("agent_missing", where=str(self.settings.agent_path))
        return self._own_sha256

    def _expected(self) -> str:
        sha256 = self.own_sha256()
        return rf"{HOME}\agent\{sha256}\{PROGRAM}" if sha256 else ""

    # -- replies ------------------------------------------------------------------------------------------------------------

    def _answer(self, completed: Completed, operation: str) -> Reply:
        if completed.exit_code not in (0, 1):
            raise HotpatchError(
                "agent_no_reply",
                f"The agent ended with exit code {completed.exit_code} and no reply to '{operation}'.",
                details={"exit_code": completed.exit_code, "stderr": completed.stderr[:2000]},
            )
        reply = decode(completed.stdout)
        if (completed.exit_code == 1) != (reply.error is not None):
            raise HotpatchError("protocol_malformed", f"The reply to '{operation}' and the exit code {completed.exit_code} disagree.")
        self._accept(reply.agent)
        return reply

    def _know_agent(self, request: Request, *, own: bool = False) -> None:
        """A lab build must be refused before it changes anything, so the first change is preceded by a question."""
        if self.identity is not None or self.settings.lab or request.changes_nothing:
            return
        if own:
            # Asked of the program itself: the service, whose state is about to be changed, may be stopped.
            self._accept(decode_identity(self._run(["version"], b"", request, own=True).stdout))
        else:
            probe = Request("boot_id")
            self._answer(self._ask(probe), probe.operation).unwrap()

    def _accept(self, identity: AgentIdentity) -> None:
        if identity.build == "lab" and not self.settings.lab:
            raise HotpatchError("agent_lab_build", details={"version": identity.version, "sha256": identity.sha256})
        self.identity = identity


def installed_program(missing: Missing) -> str:
    """The program of the installed service, empty when none is installed.

    :raises HotpatchError: ``agent_unsafe_path`` when the service runs something that is not in the agent's place.
    """
    if not missing.service_image:
        return ""
    found = _IMAGE.match(missing.service_image)
    if found is None:
        raise HotpatchError(
            "agent_unsafe_path",
            "The service 'hotpatch-agent' runs a program outside the agent's folder.",
            where=missing.service_image,
            remedy="Find out who changed the service; run the role hotpatch.windows.agent after removing it.",
        )
    return found[1]
