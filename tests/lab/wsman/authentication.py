# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is at the other end of a connection, and how are messages on it protected?

Basic is checked for each request. Negotiate (SPNEGO with NTLM inside, or NTLM bare) belongs to the TCP connection: once it
is done, what follows on the connection is that user's, and messages may be sealed with the key that was agreed upon.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
import struct
from collections.abc import Sequence
from pathlib import Path

import spnego
from spnego.exceptions import SpnegoError

from lab.spec import User

PROTOCOL = "application/HTTP-SPNEGO-session-encrypted"
BOUNDARY = "Encrypted Boundary"
_SCHEMES = ("Negotiate", "NTLM")


class Accounts:
    """The users of a host. For NTLM they are in a file, because pyspnego takes them from one (NTLM_USER_FILE)."""

    def __init__(self, users: Sequence[User], computer: str, store: Path) -> None:
        self._users = {user.name.lower(): user for user in users}
        self._computer = computer
        store.touch(mode=0o600)
        # A client writes the name as user, .\\user or COMPUTER\\user; the domain enters the proof of the password.
        domains = ("", ".", computer.upper(), computer.lower())
        store.write_text("".join(f"{domain}:{user.name}:{user.password}\n" for user in users for domain in domains))
        os.environ["NTLM_USER_FILE"] = str(store)

    def find(self, name: str) -> User | None:
        """A user by name, with or without this computer's name in front."""
        domain, _, user = name.rpartition("\\")
        if domain.lower() not in ("", ".", self._computer.lower()):
            return None
        return self._users.get(user.lower())

    def check(self, name: str, password: str) -> User | None:
        """The user, when the password is right."""
        user = self.find(name)
        if user is None or not hmac.compare_digest(user.password.encode(), password.encode()):
            return None
        return user


class Session:
    """The security of one TCP connection."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._context: spnego.ContextProxy | None = None
        self._user: User | None = None

    def authenticate(self, header: str | None) -> tuple[User | None, list[str]]:
        """Judges an Authorization header.

        Gives the user, or None and the WWW-Authenticate headers for a 401 answer. A user may come with one header too:
        the last token of the exchange.
        """
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() == "basic":
            return self._basic(token), offers()
        if scheme in _SCHEMES:
            return self._negotiate(scheme, token)
        return self._user, offers()

    def _basic(self, token: str) -> User | None:
        try:
            name, _, password = base64.b64decode(token, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return self._accounts.check(name, password)

    def _negotiate(self, scheme: str, token: str) -> tuple[User | None, list[str]]:
        if self._context is None or self._context.complete:
            self._user = None
            self._context = spnego.server(
                protocol="negotiate" if scheme == "Negotiate" else "ntlm", options=spnego.NegotiateOptions.use_negotiate
            )
        try:
            answer = self._context.step(base64.b64decode(token, validate=True))
        except (SpnegoError, binascii.Error, struct.error, ValueError):
            self._context = None
            return None, offers()
        reply = [] if answer is None else [f"{scheme} {base64.b64encode(answer).decode()}"]
        if not self._context.complete:
            return None, reply
        self._user = self._accounts.find(self._context.client_principal or "")
        return self._user, reply if self._user else offers()

    # -- sealed messages -----------------------------------------------------------------------------------------------------

    def unseal(self, content_type: str, body: bytes) -> bytes:
        """Opens a multipart/encrypted body; raises ValueError when it is not what was agreed."""
        if self._context is None or not self._context.complete:
            raise ValueError("no key was agreed upon")
        match = re.search(r'boundary="([^"]+)"', content_type)
        separator = b"--" + (match.group(1) if match else BOUNDARY).encode()
        parts = body.split(separator + b"\r\n")
        if len(parts) != 3:
            raise ValueError("not one sealed message")
        length = re.search(rb"Length=(\d+)", parts[1])
        sealed = parts[2].removesuffix(separator + b"--\r\n").removesuffix(separator + b"--")
        sealed = sealed[sealed.index(b"\r\n") + 2 :]
        (signature,) = struct.unpack("<i", sealed[:4])
        try:
            opened: bytes = self._context.unwrap_winrm(sealed[4 : 4 + signature], sealed[4 + signature :])
        except SpnegoError as error:
            raise ValueError(str(error)) from None
        if length is None or int(length.group(1)) != len(opened):
            raise ValueError("the length is not the one that was announced")
        return opened

    def seal(self, body: bytes) -> tuple[str, bytes]:
        """Seals an answer; gives its content type and body."""
        assert self._context is not None
        result = self._context.wrap_winrm(body)
        head = (
            f"--{BOUNDARY}\r\n\tContent-Type: {PROTOCOL}\r\n"
            f"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length={len(body) + result.padding_length}\r\n"
            f"--{BOUNDARY}\r\n\tContent-Type: application/octet-stream\r\n"
        ).encode()
        sealed = struct.pack("<i", len(result.header)) + result.header + result.data
        content_type = f'multipart/encrypted;protocol="{PROTOCOL}";boundary="{BOUNDARY}"'
        return content_type, head + sealed + f"--{BOUNDARY}--\r\n".encode()


def offers() -> list[str]:
    """What a 401 answer offers."""
    return ["Negotiate", 'Basic realm="WSMAN"']
