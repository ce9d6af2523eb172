# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which measurements are there, and what raw figures does each give?

Nothing here judges: the raw figures of one run are a document that the table and the picture are made of.
"""

from __future__ import annotations

import functools
import os
import time
import typing as t
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.programs import FORMS, JSON, Bench, NotMeasuredError, build_program
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


def _bench(lab: Lab) -> Bench:
    program = build_program()
    host = lab.create(HostSpec("bench"))
    host.up()
    return Bench(host, program)


def _sections(lab: Lab, size: Size) -> Iterator[Section]:
    """Name, words and measurement, in the order in which they are made."""
    bench = functools.cache(lambda: _bench(lab))

    def by_engine(*arguments: str | int) -> Callable[[], JSON]:
        what, form, *numbers = map(str, arguments)
        return lambda: bench().measure(what, form, *numbers)

    for method in size.methods:
        for threads in size.threads:
            measure = by_engine("stop", "near", threads, size.stop_rounds, method)
            yield f"stop/{method}/{threads}", f"stop of {threads} threads, method {method}", measure
    for form in FORMS:
        measure = by_engine("unstopped", form, size.unstopped_threads, size.unstopped_rounds)
        yield f"unstopped/{form}", f"threads that a {form} redirection stops", measure
    for form in FORMS:
        yield f"calls/{form}", f"calls through a {form} redirection", by_engine("calls", form, size.call_rounds, size.calls)
    measure = by_engine("preflight", "near", size.processes, size.preflight_rounds)
    yield "preflight", f"preflight of {size.processes} processes", measure
    yield "service", "a service under load", lambda: measure_service(lab, size.service_seconds, size.service_rounds)
