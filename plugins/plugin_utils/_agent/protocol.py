# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Is this a request, is this a reply, of the protocol? (docs/protocol.md)

Strict in both directions: what is not of the protocol is an error with a stable code, never a guess.
"""

from __future__ import annotations

import json
import re
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import ERRORS, HotpatchError

PROTOCOL: t.Final = 1
MAX_REQUEST: t.Final = 1024 * 1024
MAX_REPLY: t.Final = 4 * 1024 * 1024

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

READING: t.Final = frozenset({"host_info", "store_query", "trust_get", "preflight", "job_status", "boot_id"})
"""Operations that change nothing on any host."""

_SHA256: t.Final = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Request:
    """One operation to be carried out on a host."""

    operation: str
    arguments: Mapping[str, t.Any] = field(default_factory=dict)
    dry_run: bool = False

    @property
    def changes_nothing(self) -> bool:
        """Whether the host is the same afterwards, whatever happens."""
        return self.dry_run or self.operation in READING

    def encode(self) -> bytes:
        """The request as it goes over the wire: one line of ASCII JSON."""
        document = {
            "protocol": PROTOCOL,
            "operation": self.operation,
            "arguments": _plain(self.arguments, self.operation),
            "dry_run": self.dry_run,
        }
        encoded = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"
        if len(encoded) > MAX_REQUEST:
            raise HotpatchError(
                "argument_invalid", f"The request is {len(encoded)} bytes; {MAX_REQUEST} is the most.", where=self.operation
            )
        return encoded


@dataclass(frozen=True)
class AgentIdentity:
    """Which agent answered."""

    version: str
    build: str
    """``release`` or ``lab``."""
    mode: str
    """``resident`` (the service answered) or ``transient``."""
    sha256: str


@dataclass(frozen=True)
class Reply:
    """What the agent answered: a result, or the error that is raised by :meth:`unwrap`."""

    agent: AgentIdentity
    result: dict[str, t.Any] | None
    error: HotpatchError | None

    def unwrap(self) -> dict[str, t.Any]:
        """The result, or the error raised."""
        if self.error is not None:
            raise self.error
        return self.result if self.result is not None else {}


def decode(raw: bytes) -> Reply:
    """Read a reply.

    :raises HotpatchError: ``protocol_malformed`` or ``protocol_version``.
    """
    if len(raw) > MAX_REPLY:
        raise HotpatchError("protocol_malformed", f"The reply is {len(raw)} bytes; {MAX_REPLY} is the most.")
    document = _document(raw)
    agent = _identity(document.get("agent"))
    if document.get("protocol") != PROTOCOL:
        raise HotpatchError(
            "protocol_version",
            f"The agent {agent.version} speaks protocol {document.get('protocol')}, this collection {PROTOCOL}.",
            details={"supported": document.get("protocol"), "requested": PROTOCOL},
        )
    keys = set(document) - {"protocol", "agent"}
    if keys == {"result"} and isinstance(document["result"], dict):
        return Reply(agent, document["result"], None)
    if keys == {"error"}:
        return Reply(agent, None, _error(document["error"]))
    raise HotpatchError("protocol_malformed", "The reply holds neither one result nor one error.", details={"keys": sorted(document)})


def decode_identity(raw: bytes) -> AgentIdentity:
    """Read what ``hotpatch-agent version`` prints."""
    return _identity(_document(raw))


def _document(raw: bytes) -> dict[str, t.Any]:
    try:
        document = json.loads(raw.decode("ascii"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise HotpatchError(
            "protocol_malformed", f"The reply is not one JSON document: {error}.", details={"begins": ascii(raw[:200])}
        ) from error
    if not isinstance(document, dict):
        raise HotpatchError("protocol_malformed", "The reply is not a JSON object.")
    return document


def _unique(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> t.NoReturn:
    raise ValueError(f"{name} is not JSON")


def _identity(value: t.Any) -> AgentIdentity:
    names = ("version", "build", "mode", "sha256")
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in names):
        raise HotpatchError("protocol_malformed", "The reply does not say which agent it is from.")
    identity = AgentIdentity(*(value[name] for name in names))
    if identity.build not in ("release", "lab") or identity.mode not in ("resident", "transient") or not _SHA256.match(identity.sha256):
        raise HotpatchError("protocol_malformed", "The reply's description of the agent is not of the protocol.", details=dict(value))
    return identity


def _error(value: t.Any) -> HotpatchError:
    if not isinstance(value, dict) or not isinstance(value.get("code"), str):
        raise HotpatchError("protocol_malformed", "The reply's error has no code.")
    code, details = value["code"], value.get("details")
    details = dict(details) if isinstance(details, dict) else {}
    if code not in ERRORS:  # an agent of a later release; its words are still the best there are
        details["code"] = code
        code = "agent_internal"
    texts = {name: value.get(name) or "" for name in ("message", "where", "remedy")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise HotpatchError("protocol_malformed", "The reply's error is not of the protocol.")
    return HotpatchError(code, texts["message"], where=texts["where"], remedy=texts["remedy"], details=details)


def _plain(value: t.Any, where: str) -> Json:
    """Ansible's tagged values as the plain types they stand for; what JSON cannot hold is refused by name."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [_plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise HotpatchError("argument_invalid", f"A value of the type {type(value).__name__} cannot be sent.", where=where)
