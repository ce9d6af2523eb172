# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How do the processes of the lab talk: one JSON request and one JSON reply on a Unix socket, open files may travel along."""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import struct
import typing as t
from collections.abc import Iterator, Sequence
from pathlib import Path

GUARDIAN_SOCKET = "guardian.sock"
CONTROL_SOCKET = "control.sock"

Message = dict[str, t.Any]
_HEADER = struct.Struct("!I")
_MESSAGE_MAX = 16 * 1024 * 1024
_FILES_MAX = 8


class RemoteError(Exception):
    """The other process answered with an error."""


@contextlib.contextmanager
def _short_path(path: Path) -> Iterator[str]:
    """A Unix socket's name has at most 107 bytes; through its folder's descriptor any path fits."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def listen(path: Path) -> socket.socket:
    """Makes a listening socket at ``path``, in place of one that an earlier process left."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _short_path(path) as name:
        server.bind(name)
    path.chmod(0o600)
    server.listen(64)
    return server


def send(connection: socket.socket, message: Message, files: Sequence[int] = ()) -> None:
    """Sends one message; ``files`` are descriptors the receiver gets copies of."""
    body = json.dumps(message).encode()
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
    connection.sendmsg([_HEADER.pack(len(body))], ancillary)
    connection.sendall(body)


def receive(connection: socket.socket) -> tuple[Message, list[int]]:
    """Receives one message and the files with it; raises EOFError when the other side has gone."""
    descriptors = array.array("i")
    header, ancillary, _, _ = connection.recvmsg(_HEADER.size, socket.CMSG_SPACE(_FILES_MAX * descriptors.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    if len(header) < _HEADER.size:
        raise EOFError("the connection was closed")
    (length,) = _HEADER.unpack(header)
    if length > _MESSAGE_MAX:
        raise RemoteError(f"a message of {length} bytes is too long")
    body = bytearray()
    while len(body) < length:
        chunk = connection.recv(min(65536, length - len(body)))
        if not chunk:
            raise EOFError("the connection was closed in the middle of a message")
        body += chunk
    message: Message = json.loads(bytes(body))
    return message, list(descriptors)


def connect(path: Path) -> socket.socket:
    """Connects to the process that listens at ``path``; raises OSError when there is none."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short_path(path) as name:
            connection.connect(name)
    except OSError:
        connection.close()
        raise
    return connection


def call(path: Path, request: Message, files: Sequence[int] = (), timeout: float | None = 120.0) -> Message:
    """Sends one request and gives the reply; raises RemoteError with the other side's text, OSError when there is no other side."""
    with connect(path) as connection:
        connection.settimeout(timeout)
        send(connection, request, files)
        reply, _ = receive(connection)
    if "error" in reply:
        raise RemoteError(str(reply["error"]))
    return reply
