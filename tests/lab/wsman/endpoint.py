# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host's WS-Man listeners: HTTP and HTTPS on their own ports, there while the host runs, gone while it does not."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import typing as t
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from lab.machine import Machine
from lab.settings import HostSettings
from lab.wsman import faults
from lab.wsman.authentication import Accounts, Session, offers
from lab.wsman.envelope import MalformedError, parse
from lab.wsman.faults import Fault
from lab.wsman.operations import Caller, Operations
from lab.wsman.shells import Shells

ADDRESS = "127.0.0.1"
SOAP = "application/soap+xml;charset=UTF-8"
HANDSHAKE_S = 10.0
EXPIRE_S = 0.5
READ_MAX = 64 * 1024 * 1024
"""A body is read to its end before 413 is sent, or the client would see a reset connection; this bounds the reading."""


class Endpoint:
    """The listeners of a host. The ports stay the host's own while they are closed: nobody else can take them."""

    def __init__(self, settings: HostSettings, machine: Machine, folder: Path, log: t.Callable[[str], None]) -> None:
        self._settings = settings
        self._log = log
        self.spec = settings.spec
        self.accounts = Accounts(settings.users, settings.spec.name, folder / "ntlm-users")
        self.shells = Shells(machine, settings.spec.quotas)
        self.operations = Operations(settings.spec, self.shells)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(settings.key)
        self._reserved = [_bound(port) for port in (settings.http_port, settings.https_port)]
        self._listeners: list[socket.socket] = []
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._counters = {"messages": 0, "received_bytes": 0, "sent_bytes": 0, "connections": 0}
        threading.Thread(target=self._expire, daemon=True).start()

    def open(self) -> None:
        """Starts to listen."""
        if self._listeners:
            return
        for port, tls in ((self._settings.http_port, None), (self._settings.https_port, self._tls)):
            listener = _bound(port)
            listener.listen(128)
            self._listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener, tls), daemon=True).start()

    def close(self) -> None:
        """Refuses new connections, cuts those that are open, ends the shells: what a client sees of a host that goes down."""
        for listener in self._listeners:
            # Wakes the thread in accept(), which closing alone would not.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._listeners.clear()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.shutdown(socket.SHUT_RDWR)
        self.shells.clear()

    def _expire(self) -> None:
        pause = threading.Event()
        while not pause.wait(EXPIRE_S):
            self.shells.expire()

    def _accept(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, address = listener.accept()
                threading.Thread(target=self._serve, args=(connection, address, tls), daemon=True).start()

    def _serve(self, connection: socket.socket, address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        with self._lock:
            self._connections.add(connection)
        try:
            self.count(connections=1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = connection
            if tls is not None:
                connection.settimeout(HANDSHAKE_S)
                stream = tls.wrap_socket(connection, server_side=True)
                stream.settimeout(None)
                with self._lock:
                    self._connections.discard(connection)
                    self._connections.add(stream)
            try:
                Connection(stream, address, self)
            finally:
                with self._lock:
                    self._connections.discard(stream)
                stream.close()
        except OSError:
            pass  # the client has gone, or spoke no TLS: nobody is left to be told
        except ValueError as error:
            self._log(f"connection from {address} was given up: {error}")
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def count(self, **amounts: int) -> None:
        """Adds to the counters."""
        with self._lock:
            for name, amount in amounts.items():
                self._counters[name] += amount

    def counters(self) -> dict[str, t.Any]:
        """What passed so far."""
        with self._lock:
            return dict(self._counters)


def _bound(port: int) -> socket.socket:
    """A socket on a port that several sockets may be bound to. One that does not listen keeps the port and refuses clients."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((ADDRESS, port))
    return bound


class Connection(BaseHTTPRequestHandler):
    """One TCP connection and the requests on it."""

    protocol_version = "HTTP/1.1"
    server_version = "Microsoft-HTTPAPI/2.0"
    sys_version = ""

    def __init__(self, stream: socket.socket, address: tuple[str, int], endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._session = Session(endpoint.accounts)
        super().__init__(stream, address, t.cast(t.Any, None))

    def do_POST(self) -> None:
        """Answers one request."""
        body = self._read()
        self._endpoint.count(messages=1, received_bytes=len(body))
        if self.path.split("?")[0].rstrip("/") != "/wsman":
            self._reply(404, b"")
            return
        user, headers = self._session.authenticate(self.headers.get("Authorization"))
        if user is None:
            self._reply(401, b"", authenticate=headers)
            return
        authenticate = [header for header in headers if header not in offers()]
        if len(body) > self._endpoint.spec.quotas.max_envelope_bytes:
            self._reply(413, b"", authenticate=authenticate)
        elif not body:
            self._reply(200, b"", authenticate=authenticate)
        else:
            self._answer(body, Caller(user, self.client_address[0]), authenticate)

    def _read(self) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= READ_MAX:
            self.close_connection = True
            raise ValueError(f"a body of {length} bytes")
        return self.rfile.read(length)

    def _answer(self, body: bytes, caller: Caller, authenticate: list[str]) -> None:
        content_type = self.headers.get("Content-Type", "")
        sealed = content_type.startswith("multipart/")
        if sealed:
            try:
                body = self._session.unseal(content_type, body)
            except ValueError:
                self._reply(400, b"", authenticate=authenticate)
                return
        status, answer = self._carry_out(body, caller)
        kind = SOAP
        if sealed:
            kind, answer = self._session.seal(answer)
        self._reply(status, answer, content_type=kind, authenticate=authenticate)

    def _carry_out(self, body: bytes, caller: Caller) -> tuple[int, bytes]:
        machine = self._endpoint.spec.name
        message_id = ""
        try:
            request = parse(body)
            message_id = request.message_id
            return 200, self._endpoint.operations.answer(request, caller)
        except (MalformedError, ValueError) as error:
            return 500, faults.invalid_message(f"{error} ").write(message_id, machine)
        except Fault as fault:
            return 500, fault.write(message_id, machine)

    def _reply(self, status: int, body: bytes, *, content_type: str = "", authenticate: list[str] | None = None) -> None:
        self.send_response(status)
        for value in authenticate or []:
            self.send_header("WWW-Authenticate", value)
        if content_type:
            self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self._endpoint.count(sent_bytes=len(body))

    def log_message(self, format: str, *args: object) -> None:
        """Keeps single requests out of the log: there are thousands in a test run."""
