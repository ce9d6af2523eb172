# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which measurements are there, and what raw figures does each give?

Nothing here judges: the raw figures of one run are a document that the table and the picture are made of.
"""

from __future__ import annotations

import os
import time
import typing as t
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.programs import FORMS, JSON, Bench, NotMeasuredError
from benchmarks.service import measure_service
from lab import HostSpec, Lab
from lab.wine import LabError


@dataclass(frozen=True)
class Size:
    """How much is measured. A 99th percentile asks for a hundred rounds."""

    threads: tuple[int, ...] = (1, 8, 64, 256)
    methods: tuple[str, ...] = ("process", "threads")
    stop_rounds: int = 100
    unstopped_threads: int = 64
    unstopped_rounds: int = 10
    call_rounds: int = 100
    calls: int = 500_000
    processes: int = 100
    preflight_rounds: int = 10
    service_seconds: float = 6.0
    service_rounds: int = 3


FULL: t.Final = Size()
QUICK: t.Final = Size(
    threads=(1, 8),
    stop_rounds=10,
    unstopped_threads=8,
    unstopped_rounds=2,
    call_rounds=5,
    calls=100_000,
    processes=10,
    preflight_rounds=2,
    service_seconds=1.5,
    service_rounds=1,
)

Section: t.TypeAlias = tuple[str, str, Callable[[], JSON]]


def run(lab: Lab, size: Size, say: Callable[[str], None]) -> JSON:
    """Every measurement. One that cannot be made stands under ``not_measured`` with its reason, and the others go on."""
    document: JSON = {"machine": _machine(), "began": time.time(), "measured": {}, "not_measured": {}}
    for name, words, measure in _sections(lab, size):
        begin = time.monotonic()
        try:
            document["measured"][name] = measure()
            say(f"{words}: {time.monotonic() - begin:.0f} s")
        except (NotMeasuredError, LabError, OSError) as error:
            document["not_measured"][name] = str(error)
            say(f"{words}: NOT MEASURED: {error}")
    document["ended"] = time.time()
    document["machine"]["load_after"] = os.getloadavg()[0]
    return document


def _machine() -> JSON:
    """What the figures depend on: a machine that does other work at the same time shows it in its load."""
    return {"processors": os.cpu_count(), "load_before": os.getloadavg()[0]}


def _sections(lab: Lab, size: Size) -> Iterator[Section]:
    """Name, words and measurement, in the order in which they are made."""
    host = lab.create(HostSpec("bench"))
    host.up()
    bench = Bench(host)
    for method in size.methods:
        for threads in size.threads:

            def stop(threads: int = threads, method: str = method) -> JSON:
                return bench.measure("stop", "near", threads, size.stop_rounds, method)

            yield f"stop/{method}/{threads}", f"stop of {threads} threads, method {method}", stop
    for form in FORMS:

        def unstopped(form: str = form) -> JSON:
            return bench.measure("unstopped", form, size.unstopped_threads, size.unstopped_rounds)

        yield f"unstopped/{form}", f"threads that a {form} redirection stops", unstopped
    for form in FORMS:

        def calls(form: str = form) -> JSON:
            return bench.measure("calls", form, size.call_rounds, size.calls)

        yield f"calls/{form}", f"calls through a {form} redirection", calls
    yield (
        "preflight",
        f"preflight of {size.processes} processes",
        lambda: bench.measure("preflight", "near", size.processes, size.preflight_rounds),
    )
    lab.destroy(host)
    yield "service", "a service under load", lambda: measure_service(lab, size.service_seconds, size.service_rounds)
