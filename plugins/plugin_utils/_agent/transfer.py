# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""How do files get into the host's store, each under its SHA-256, sent only when missing?"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.carriers import Progress
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.session import AgentSession, file_sha256
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

_SHA256: t.Final = re.compile(r"[0-9a-f]{64}\Z")
# Below this a transfer is over before anyone reads about it.
_WORTH_SHOWING: t.Final = 8 * 1024 * 1024


@dataclass(frozen=True)
class Source:
    """Where one file of the store comes from: a file of the controller, a URL the host pulls, or (neither) it must be there."""

    sha256: str
    path: Path | None = None
    url: str | None = None
    size: int | None = None
    proxy: str | None = None


@dataclass(frozen=True)
class Staged:
    """What became of one file."""

    sha256: str
    size: int | None
    changed: bool


def checked_sha256(value: str, where: str) -> str:
    """A SHA-256 as the wire has it.

    :raises HotpatchError: ``argument_invalid``.
    """
    if not _SHA256.match(value.lower()):
        raise HotpatchError("argument_invalid", f"'{value}' is not a SHA-256 of 64 hexadecimal digits.", where=where)
    return value.lower()


def local_source(path: Path, sha256: str | None, where: str) -> Source:
    """A file of the controller.

    :raises HotpatchError: ``store_hash_mismatch`` when it is not the expected one: found here, before a byte is sent.
    """
    found = file_sha256(path)
    if sha256 is not None and found != checked_sha256(sha256, where):
        raise HotpatchError(
            "store_hash_mismatch",
            f"The SHA-256 of {path.name} is {found}, expected was {sha256.lower()}.",
            where=str(path),
            details={"expected": sha256.lower(), "found": found},
        )
    return Source(found, path=path, size=path.stat().st_size)


def pulled_source(url: str, sha256: str | None, size: int | None, proxy: str | None, where: str) -> Source:
    """A file the host pulls by itself."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise HotpatchError("argument_invalid", f"'{url}' is not an http or https URL.", where=where)
    if sha256 is None:
        raise HotpatchError("argument_invalid", "A file that the host pulls needs its 'sha256'.", where=where)
    return Source(checked_sha256(sha256, where), url=url, size=size, proxy=proxy)


def bring(agent: AgentSession, sources: Sequence[Source], *, dry_run: bool, say: Callable[[str], None]) -> list[Staged]:
    """Bring files into the store; what is there already is not sent again.

    :raises HotpatchError: ``store_object_missing`` for a source that is neither here nor there, and what the agent answers.
    """
    present = agent.call("store_query", {"objects": sorted({source.sha256 for source in sources})})["present"]
    done: list[Staged] = []
    for source in sources:
        if source.sha256 in present:
            done.append(Staged(source.sha256, present[source.sha256], False))
            continue
        done.append(_bring_one(agent, source, dry_run, say))
        present[source.sha256] = done[-1].size
    return done


def _bring_one(agent: AgentSession, source: Source, dry_run: bool, say: Callable[[str], None]) -> Staged:
    if source.url is not None:
        request = {"url": source.url, "sha256": source.sha256, "size": source.size, "proxy": source.proxy}
        say(f"pulls {source.url}") if not dry_run else None
        answer = agent.call("store_fetch", request, dry_run=dry_run)
        return Staged(source.sha256, answer.get("size"), bool(answer["changed"]))
    if source.path is None:
        raise HotpatchError("store_object_missing", where=source.sha256)
    if dry_run:
        return Staged(source.sha256, source.size, True)
    answer = agent.put_object(source.path, source.sha256, _meter(source.path, say))
    return Staged(source.sha256, answer.get("size"), bool(answer["changed"]))


def _meter(path: Path, say: Callable[[str], None]) -> Progress | None:
    """Tells how far a long transfer is, at every tenth."""
    size = path.stat().st_size
    if size < _WORTH_SHOWING:
        return None
    shown = 0

    def progress(sent: int) -> None:
        nonlocal shown
        tenth = sent * 10 // size
        if tenth > shown:
            shown = tenth
            say(f"{path.name}: {tenth * 10} % of {size // 1024 // 1024} MiB sent")

    return progress
