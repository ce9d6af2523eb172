# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What do the raw figures say, line by line: the figure, its floor of the same run, their ratio, and whether a goal is met?

A goal that is missed is a line like any other. No goal is an absolute time but the engine's own budget for a stop.
"""

from __future__ import annotations

import statistics
import typing as t
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from benchmarks.programs import JSON, Series
from benchmarks.service import KINDS

MEDIAN_GOAL: t.Final = 1.5
TAIL_GOAL: t.Final = 2.0
# The redirected function against one that jumps once more: what lies between two medians of one function on a busy machine.
JUMP_GOAL: t.Final = 1.15

KIND_WORDS: t.Final = {"undisturbed": "undisturbed", "dry_run": "the agent's dry runs", "patching": "apply and revert"}


@dataclass(frozen=True)
class Line:
    """One line of the table. Figures are words with their unit, because lines differ in it."""

    group: str
    name: str
    figure: str
    floor: str = ""
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None
    """None where nothing is demanded."""

    @property
    def verdict(self) -> str:
        """One word."""
        return {None: "", True: "met", False: "MISSED"}[self.met]

    def as_json(self) -> JSON:
        """For the document of raw figures."""
        return asdict(self)


def p99(values: list[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(values, n=100, method="inclusive")[98] if len(values) > 1 else values[0]


def milliseconds(microseconds: float) -> str:
    """A time in the unit in which it can be read."""
    return f"{microseconds / 1000:.2f} ms" if microseconds < 100_000 else f"{microseconds / 1000:.0f} ms"


def lines(document: JSON) -> list[Line]:
    """Every line of the table, for whatever was measured."""
    made: list[Line] = []
    for name, raw in document["measured"].items():
        kind, *words = name.split("/")
        made += list(_MAKERS[kind](raw, *words))
    made += [Line("not measured", name, "", goal=why) for name, why in document["not_measured"].items()]
    return made


def _compared(group: str, name: str, value: float, floor: float, most: float | None = None) -> Line:
    ratio = value / floor
    goal = f"at most {most:g} times" if most else ""
    return Line(group, name, milliseconds(value), milliseconds(floor), ratio, goal, ratio <= most if most else None)


def _stop(raw: JSON, method: str, _threads: str) -> Iterator[Line]:
    series: Series = raw["series"]
    group = f"stop by {method}, {raw['threads']} threads"
    floor, entry, functions = (series[name] for name in ("floor", "entry", "functions"))
    middle = statistics.median(floor)
    yield _compared(group, "entry, median", statistics.median(entry), middle, MEDIAN_GOAL)
    yield _compared(group, "entry, 99th percentile", p99(entry), p99(floor), TAIL_GOAL)
    yield _compared(group, "functions, median", statistics.median(functions), middle)
    yield _compared(group, "reading the stacks (functions less entry)", statistics.median(functions) - statistics.median(entry), middle)
    yield _compared(group, "revert of entry, median", statistics.median(series["revert"]), middle)
    yield _compared(group, "floor without contexts, median", statistics.median(series["bare"]), middle)
    budget = raw["budget_us"]
    share = sum(value <= budget for value in entry) / len(entry)
    yield Line(
        group,
        f"entry within the usual budget of {budget / 1000:g} ms",
        f"{share:.0%}",
        goal="99th percentile within",
        met=p99(entry) <= budget,
    )
    yield Line(group, "apply with the usual limits", raw["verdict"], goal="applied", met=raw["verdict"] == "applied")


def _unstopped(raw: JSON, form: str) -> Iterator[Line]:
    group = "threads stopped by an apply"
    most = max(raw["series"]["suspended"])
    name = f"{form} redirection, most threads seen suspended of {raw['threads']}"
    stops = max(raw["series"]["stop_us"])
    yield Line(group, name, f"{most:.0f}", goal="none" if form == "short" else "", met=most == stops == 0 if form == "short" else None)


def _calls(raw: JSON, form: str) -> Iterator[Line]:
    group = f"a call through a {form} redirection"
    times = {name: statistics.median(values) for name, values in raw["series"].items()}

    def compared(name: str, value: str, floor: str, most: float | None = None) -> Line:
        ratio = times[value] / times[floor]
        goal = f"one jump: at most {most:g} times" if most else ""
        return Line(group, name, f"{times[value]:.2f} ns", f"{times[floor]:.2f} ns", ratio, goal, ratio <= most if most else None)

    yield compared("patched, against unpatched", "patched", "unpatched")
    yield compared("patched, against a function with one jump more", "patched", "one_jump", JUMP_GOAL)
    yield compared("patched, against a function with two jumps more", "patched", "two_jumps")
    yield compared("one jump more, against none", "one_jump", "direct")
    yield compared("two jumps more, against none", "two_jumps", "direct")


def _preflight(raw: JSON) -> Iterator[Line]:
    group = f"preflight of {raw['processes']} processes, {raw['with_module']} with the module"
    listing, preflight = (statistics.median(raw["series"][name]) for name in ("listing", "preflight"))
    yield _compared(group, "whole host, against one listing of processes and modules", preflight, listing)
    yield _compared(group, "each process", preflight / raw["processes"], listing / raw["processes"])


def _service(raw: JSON) -> Iterator[Line]:
    group = f"HTTP service, {raw['clients']} clients"
    rates = {kind: raw["kinds"][kind]["requests"] / raw["kinds"][kind]["seconds"] for kind in KINDS}
    calm = raw["kinds"]["undisturbed"]["latencies"]
    for kind in KINDS:
        seen = raw["kinds"][kind]
        first = kind == KINDS[0]
        words = KIND_WORDS[kind] if first else f"{KIND_WORDS[kind]}, {raw['cycles'][kind]} times"
        reference = "" if first else f"{rates['undisturbed']:.0f}/s"
        yield Line(group, f"{words}: requests", f"{rates[kind]:.0f}/s", reference, None if first else rates[kind] / rates["undisturbed"])
        for name, of in (("median", statistics.median), ("99th percentile", p99), ("longest", max)):
            value, floor = (of(latencies) * 1e6 for latencies in (seen["latencies"], calm))
            line = _compared(group, f"{words}: latency, {name}", value, floor)
            yield Line(group, line.name, line.figure) if first else line
        yield Line(group, f"{words}: failed requests", str(seen["failures"]), goal="none", met=seen["failures"] == 0)
    stops = [max(pair) for pair in raw["stops"]]
    yield Line(group, "longest stop that changed the service", milliseconds(max(stops)) if stops else "none")
    yield Line(group, "operations that gave up, busy or over budget, and were tried again", str(raw["given_up"]))


_MAKERS: t.Final[dict[str, Callable[..., Iterator[Line]]]] = {
    "stop": _stop,
    "unstopped": _unstopped,
    "calls": _calls,
    "preflight": _preflight,
    "service": _service,
}


def groups(made: list[Line]) -> dict[str, list[Line]]:
    """The lines by their group, in the order of the table."""
    by_group: dict[str, list[Line]] = {}
    for line in made:
        by_group.setdefault(line.group, []).append(line)
    return by_group


def table(made: list[Line]) -> str:
    """The lines as text, group by group."""
    width = max(len(line.name) for line in made) + 2
    rows = []
    for group, members in groups(made).items():
        rows += [f"\n{group}", *(_row(line, width) for line in members)]
    head = f"  {'':<{width}}{'figure':>12}{'floor':>12}{'ratio':>8}  goal"
    return "\n".join([head, *rows])


def _row(line: Line, width: int) -> str:
    ratio = f"{line.ratio:.2f}" if line.ratio is not None else ""
    return f"  {line.name:<{width}}{line.figure:>12}{line.floor:>12}{ratio:>8}  {line.goal:<32}{line.verdict}".rstrip()
