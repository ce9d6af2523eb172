# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of the order service who never stop asking and check every answer.

Each thread keeps one connection and computes what the right answer is by itself, so a request counts as good only if the
service answered it completely and correctly. A connection the service closed is a failure too: it promised keep-alive.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
import zlib
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urlsplit

_PRICES = {"bolt-m6": (18, 500), "cable-cat6": (585, 50), "fan-120": (1290, 20), "panel-19": (1120, 25), "relay-24v": (865, 40)}
_CLASSES = ("retail", "regular", "trade", "staff", "partner", "charity")
_TIMEOUT_S = 120.0


@dataclass
class LoadResult:
    """What the clients saw: counts, the first few failures in words, and each good request's latency in seconds."""

    requests: int = 0
    failures: int = 0
    messages: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        """The latency, in seconds, that ``share`` (0 to 1) of the good requests stayed within."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def expected_quote(sku: str, quantity: int, customer: int) -> dict[str, object]:
    """The fields of the right answer to ``/quote`` that depend on the request."""
    price, bulk_from = _PRICES[sku]
    bulk = 0.05 if quantity >= bulk_from else 0.0
    discount = (
        bulk,
        bulk + 0.02,
        bulk * 2.0 + 0.075,
        0.3,
        0.225 if quantity > 1000 else bulk + 0.125,
        bulk * 3.0 + 0.1 / quantity,
    )[customer]
    net = price * quantity
    total = int(net * (1.0 - discount) + 0.5)
    checksum = zlib.crc32(sku.encode().ljust(16, b"\0")) ^ total
    return {
        "sku": sku,
        "customer": _CLASSES[customer],
        "quantity": quantity,
        "net_cents": net,
        "total_cents": total,
        "discount": float(f"{discount:.4f}"),
        "checksum": f"{checksum:08x}",
    }


class Load:
    """Runs ``threads`` clients against ``url`` from entering to leaving the ``with`` block.

    :param url: scheme, host and port of the service, for example ``http://127.0.0.1:8080``.
    """

    def __init__(self, url: str, threads: int = 4) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._client, args=(number,), daemon=True) for number in range(threads)]
        self._result = LoadResult()

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * _TIMEOUT_S)

    @property
    def result(self) -> LoadResult:
        """A copy of what was seen so far."""
        with self._lock:
            seen = self._result
            return LoadResult(seen.requests, seen.failures, list(seen.messages), list(seen.latencies))

    def wait_for(self, requests: int, timeout_s: float = 240.0) -> LoadResult:
        """Waits until so many more requests were answered well; :class:`TimeoutError` when they are not in time."""
        start = self.result
        goal = start.requests - start.failures + requests
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            now = self.result
            if now.requests - now.failures >= goal:
                return now
            self._stopping.wait(0.02)
        raise TimeoutError(f"{requests} more good requests in {timeout_s} s: {self.result.messages}")

    def _client(self, number: int) -> None:
        connection: http.client.HTTPConnection | None = None
        turn = number
        while not self._stopping.is_set():
            turn += 1
            try:
                connection = connection or http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
                begin = time.perf_counter()
                problem = self._ask(connection, number, turn)
                took = time.perf_counter() - begin
            except (OSError, http.client.HTTPException) as error:
                problem, took = f"{type(error).__name__}: {error}", 0.0
            if problem and connection:
                connection.close()
                connection = None
                self._stopping.wait(0.01)  # a service that is down is not asked in a busy loop
            self._note(problem, took)
        if connection:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection, number: int, turn: int) -> str:
        """One request, alternately a quote and an echo; empty when the answer is right."""
        if turn % 4 == 0:
            reference = f"client-{number}-{turn}"
            status, body = _get(connection, f"/echo?reference={reference}&length={len(reference)}")
            return "" if (status, body) == (200, reference.encode()) else f"echo {reference}: {status} {body!r}"
        sku = sorted(_PRICES)[turn % len(_PRICES)]
        quantity, customer = 1 + turn * 37 % 2000, turn % len(_CLASSES)
        status, body = _get(connection, f"/quote?sku={sku}&quantity={quantity}&customer={customer}")
        if status != 200:
            return f"quote {sku} {quantity} {customer}: {status} {body!r}"
        try:
            answer = json.loads(body)
        except ValueError:
            return f"quote {sku} {quantity} {customer}: not JSON: {body!r}"
        answer.pop("title", None)
        right = expected_quote(sku, quantity, customer)
        return "" if answer == right else f"quote: {answer} is not {right}"

    def _note(self, problem: str, took: float) -> None:
        with self._lock:
            self._result.requests += 1
            if problem:
                self._result.failures += 1
                if len(self._result.messages) < 10:
                    self._result.messages.append(problem)
            else:
                self._result.latencies.append(took)


def _get(connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()
