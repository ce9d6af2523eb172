# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Which keys shall a host trust? From the options of ``hotpatch.windows.agent`` to the wire's ``trust_set``."""

from __future__ import annotations

import base64
import binascii
import datetime
import re
import typing as t
from collections.abc import Mapping

from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.transfer import checked_sha256
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

_PEM: t.Final = re.compile(r"\s*-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)-----END PUBLIC KEY-----\s*\Z")
# A SubjectPublicKeyInfo of P-256 with an uncompressed point is this, followed by the point's 64 bytes (RFC 5480).
_P256: t.Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_P256_LENGTH: t.Final = len(_P256) + 64
_KEY_NAMES: t.Final = ("public_key", "name", "not_after")


def wanted_trust(options: Mapping[str, t.Any], current: Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The whole wanted state: what the options say, and for those not given what is in force.

    :param options: ``trusted_keys``, ``revoked_keys``, ``revoked_payloads``; None where not given.
    :param current: the result of ``trust_get``, or empty.
    :raises HotpatchError: ``argument_invalid``.
    """
    keys = options["trusted_keys"]
    if keys is None:
        wanted = [{name: key.get(name) for name in _KEY_NAMES} for key in current.get("keys", [])]
    else:
        wanted = [_key(entry, f"trusted_keys[{index}]") for index, entry in enumerate(keys)]
    return {
        "keys": wanted,
        "revoked_keys": _hashes(options, "revoked_keys", current),
        "revoked_payloads": _hashes(options, "revoked_payloads", current),
    }


def _key(entry: Mapping[str, t.Any], where: str) -> dict[str, t.Any]:
    return {
        "public_key": wire_key(entry["public_key"], where),
        "name": entry["name"],
        "not_after": None if entry["not_after"] is None else _end_of_day(entry["not_after"], where),
    }


def wire_key(pem: str, where: str) -> str:
    """A PEM public key as the wire has it: base64 of its DER.

    :raises HotpatchError: ``argument_invalid`` when it is no P-256 key.
    """
    found = _PEM.match(pem)
    try:
        der = base64.b64decode("".join(found[1].split()), validate=True) if found else b""
    except binascii.Error:
        der = b""
    if len(der) != _P256_LENGTH or not der.startswith(_P256):
        raise HotpatchError("argument_invalid", "The public key is not a P-256 key in PEM form (BEGIN PUBLIC KEY).", where=where)
    return base64.b64encode(der).decode("ascii")


def _end_of_day(day: str, where: str) -> int:
    try:
        date = datetime.date.fromisoformat(day)
    except ValueError as error:
        raise HotpatchError("argument_invalid", f"'{day}' is not a day like 2027-12-31.", where=f"{where}.not_after") from error
    return int(datetime.datetime.combine(date, datetime.time(23, 59, 59), datetime.UTC).timestamp())


def _hashes(options: Mapping[str, t.Any], name: str, current: Mapping[str, t.Any]) -> list[str]:
    given = options[name]
    if given is None:
        return list(current.get(name, []))
    return sorted({checked_sha256(value, f"{name}[{index}]") for index, value in enumerate(given)})
