# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""How do payloads, keys and builds get from and to files of the controller?"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError
from ansible_collections.hotpatch.windows.plugins.plugin_utils._trust import wanted_trust

from . import cose, format
from .explain import explain

_COSE_TAG = 0xD2  # tag 18, with which every signed payload begins; unsigned content begins with a map


@dataclass(frozen=True)
class PayloadFile:
    """A payload's file, signed or not, taken apart; a signature in it is not checked."""

    path: Path
    data: bytes
    content: bytes
    key_id: str
    """Empty when it is not signed."""
    payload: format.Payload

    @property
    def explanation(self) -> dict[str, t.Any]:
        """What is in it."""
        return explain(self.payload)

    @property
    def outline(self) -> dict[str, t.Any]:
        """For a diff: what is in it, and who signed it."""
        return {"key_id": self.key_id, **self.explanation}

    def describe(self) -> dict[str, t.Any]:
        """The result's ``payload``."""
        described: dict[str, t.Any] = {
            "path": str(self.path),
            "sha256": hashlib.sha256(self.data).hexdigest(),
            "size": len(self.data),
            "signed": bool(self.key_id),
            "id": self.payload.id,
            "sequence": self.payload.sequence,
            "created": self.payload.created,
            "expires": self.payload.expires,
        }
        return {**described, "key_id": self.key_id} if self.key_id else described


def read(path: Path) -> bytes:
    """A file's bytes; :class:`HotpatchError` ``file_missing`` when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise HotpatchError("file_missing", f"The file cannot be read: {error.strerror}.", str(path)) from error


def write(path: Path, data: bytes) -> None:
    """Replaces a file as a whole, or leaves it as it was; :class:`HotpatchError` ``file_unwritable`` when it cannot be written."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise HotpatchError("file_unwritable", f"The file cannot be written: {error.strerror}.", str(path)) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), 0o644)
        Path(name).replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise HotpatchError("file_unwritable", f"The file cannot be written: {error.strerror}.", str(path)) from error


def load(path: Path) -> PayloadFile:
    """Takes a payload's file apart.

    :raises HotpatchError: ``file_missing``, ``payload_truncated``, ``payload_malformed``, ``payload_unsigned``,
        ``payload_format_unsupported``.
    """
    return _take_apart(path, read(path))


def load_if_there(path: Path) -> PayloadFile | None:
    """As :func:`load`; nothing when there is no file, or what is there is no payload and will be replaced."""
    if not path.exists():
        return None
    try:
        return load(path)
    except HotpatchError:
        return None


def make(path: Path, content: bytes, key: bytes | None, passphrase: bytes | None) -> PayloadFile:
    """The file of a content, signed when there is a key. Nothing is written."""
    return _take_apart(path, content if key is None else cose.sign(content, key, passphrase))


def _take_apart(path: Path, data: bytes) -> PayloadFile:
    try:
        if data[:1] == bytes([_COSE_TAG]):
            message = cose.parse(data)
            return PayloadFile(path, data, message.content, message.kid.hex(), format.decode(message.content))
        return PayloadFile(path, data, data, "", format.decode(data))
    except HotpatchError as error:
        error.where = str(path)
        raise


def verify(file: PayloadFile, arguments: Mapping[str, t.Any], now: int) -> None:
    """Verifies a file with the trust that the task's options describe.

    :raises HotpatchError: the first check that fails, by its code; ``argument_invalid`` for a key that is none.
    """
    if not file.key_id:
        raise HotpatchError("payload_unsigned", where=str(file.path))
    trust = cose.Trust.from_wire(wanted_trust(arguments, {}))
    try:
        cose.verify(file.data, trust, now)
    except HotpatchError as error:
        error.where = str(file.path)
        raise


def public_key_text(key: bytes, passphrase: bytes | None) -> str:
    """The public half of a private key, in PEM form."""
    return cose.public_key_pem(cose.public_key_of(key, passphrase)).decode("ascii")
