# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How do the figures become one page with pictures that loads nothing?"""

from __future__ import annotations

import datetime
import math
import statistics
import typing as t
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jinja2

from benchmarks.lines import KIND_WORDS, MEDIAN_GOAL, Line, groups, p99
from benchmarks.programs import JSON
from benchmarks.service import KINDS

LEFT, RIGHT, TOP, BOTTOM = 74.0, 690.0, 18.0, 330.0
BAR_LEFT, BAR_RIGHT, BAR_STEP = 250.0, 640.0, 30.0
# name in the figures, words, colour, dashes
CURVES: t.Final = (
    ("floor", "floor: stop, read contexts, resume", "#3f4a5a", ""),
    ("bare", "floor without contexts", "#9aa5b5", ""),
    ("entry", "engine, entry", "#1f6fd6", ""),
    ("functions", "engine, functions (reads the stacks)", "#b0479a", ""),
)


@dataclass(frozen=True)
class Curve:
    """A line of a chart and what the legend calls it."""

    words: str
    colour: str
    dashes: str
    points: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """Curves over the number of threads; both axes are logarithmic."""

    title: str
    curves: tuple[Curve, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    budget: float | None


@dataclass(frozen=True)
class Bar:
    """One bar: its words, where it ends, its value in words; ``goal`` is the place of a goal's mark."""

    words: str
    y: float
    width: float
    value: str
    colour: str
    goal: float | None = None


@dataclass(frozen=True)
class Bars:
    """Bars of one unit that begin at zero."""

    title: str
    note: str
    bars: tuple[Bar, ...]
    height: float


def render(document: JSON, made: list[Line]) -> str:
    """The page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.get_template("picture.html.j2").render(
        charts=_stop_charts(document["measured"]),
        bars=list(_bars(document["measured"])),
        groups=groups(made),
        machine=document["machine"],
        began=datetime.datetime.fromtimestamp(document["began"], datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        minutes=(document["ended"] - document["began"]) / 60,
        missed=[line for line in made if line.met is False],
        demanded=[line for line in made if line.met is not None],
        edges={"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM, "bar": BAR_LEFT},
    )


# -- stop time over the number of threads ----------------------------------------------------------------------------------------


def _stop_charts(measured: JSON) -> list[Chart]:
    by_method: dict[str, dict[int, JSON]] = {}
    for name, raw in measured.items():
        if name.startswith("stop/"):
            by_method.setdefault(name.split("/")[1], {})[raw["threads"]] = raw
    return [_stop_chart(method, dict(sorted(raws.items()))) for method, raws in by_method.items()]


def _stop_chart(method: str, raws: dict[int, JSON]) -> Chart:
    lowest = min(statistics.median(raw["series"]["bare"]) for raw in raws.values())
    highest = max(p99(raw["series"][name]) for raw in raws.values() for name, *_ in CURVES)
    budget = float(next(iter(raws.values()))["budget_us"])
    bottom, top = math.floor(math.log10(lowest)), math.ceil(math.log10(max(highest, budget)))
    first, last = math.log2(min(raws)), math.log2(max(raws))

    def x(threads: int) -> float:
        return round(LEFT + 24 + (math.log2(threads) - first) / max(last - first, 1.0) * (RIGHT - LEFT - 48), 1)

    def y(microseconds: float) -> float:
        return round(BOTTOM - (math.log10(microseconds) - bottom) / (top - bottom) * (BOTTOM - TOP), 1)

    def curve(words: str, colour: str, dashes: str, medians: dict[int, float], tails: dict[int, float]) -> Curve:
        points = " ".join(f"{x(threads)},{y(value)}" for threads, value in medians.items())
        return Curve(words, colour, dashes, points, tuple((x(threads), y(value)) for threads, value in tails.items()))

    curves = [
        curve(
            words,
            colour,
            dashes,
            {threads: statistics.median(raw["series"][name]) for threads, raw in raws.items()},
            {threads: p99(raw["series"][name]) for threads, raw in raws.items()},
        )
        for name, words, colour, dashes in CURVES
    ]
    goal = {threads: statistics.median(raw["series"]["floor"]) * MEDIAN_GOAL for threads, raw in raws.items()}
    curves.append(curve(f"goal for entry: {MEDIAN_GOAL:g} times the floor", "#c2410c", "7 5", goal, {}))
    return Chart(
        f"Stop of a process by its number of threads, method {method}",
        tuple(curves),
        tuple((x(threads), str(threads)) for threads in raws),
        tuple((y(10.0**power), f"{10.0 ** (power - 3):g} ms") for power in range(bottom, top + 1)),
        y(budget),
    )


# -- bars --------------------------------------------------------------------------------------------------------------------------


def _bars(measured: JSON) -> Iterable[Bars]:
    for form in ("near", "short"):
        if raw := measured.get(f"calls/{form}"):
            times = {name: statistics.median(values) for name, values in raw["series"].items()}
            names = (
                ("unpatched", "unpatched"),
                ("patched", "patched"),
                ("one_jump", "with one jump more"),
                ("two_jumps", "with two jumps more"),
            )
            yield _bar_chart(
                f"A call through a {form} redirection, nanoseconds",
                "The mark is the goal: a call of a function that jumps once more.",
                [(words, times[name], f"{times[name]:.2f} ns", name == "patched") for name, words in names],
                {"patched": times["one_jump"]},
            )
    counts = [(form, raw) for form in ("near", "short") if (raw := measured.get(f"unstopped/{form}"))]
    if counts:
        values = [(f"{form} redirection", max(raw["series"]["suspended"]), f"of {raw['threads']}", form == "short") for form, raw in counts]
        yield _bar_chart(
            "Threads seen suspended while a payload is applied",
            "A watcher reads each thread's suspend count without pause. Goal for short: none.",
            [(words, value, f"{value:.0f} {of}", ours) for words, value, of, ours in values],
        )
    if raw := measured.get("preflight"):
        values_ms = {name: statistics.median(raw["series"][name]) / 1000 for name in ("listing", "preflight")}
        yield _bar_chart(
            f"Preflight of {raw['processes']} processes, milliseconds",
            f"{raw['with_module']} of them have the module loaded, whose code is compared byte for byte with its file.",
            [
                ("one listing of processes and modules", values_ms["listing"], f"{values_ms['listing']:.1f} ms", False),
                ("preflight", values_ms["preflight"], f"{values_ms['preflight']:.1f} ms", True),
            ],
        )
    if raw := measured.get("service"):
        yield from _service_bars(raw["kinds"])


def _service_bars(kinds: JSON) -> Iterable[Bars]:
    rates = [(KIND_WORDS[kind], kinds[kind]["requests"] / kinds[kind]["seconds"], kind == "patching") for kind in KINDS]
    yield _bar_chart(
        "HTTP service: requests per second",
        "Dry runs of the agent show what its processor time alone takes from the service.",
        [(words, value, f"{value:.0f}/s", ours) for words, value, ours in rates],
    )
    for name, of in (("median", statistics.median), ("99th percentile", p99), ("longest", max)):
        values = [(KIND_WORDS[kind], of(kinds[kind]["latencies"]) * 1000, kind == "patching") for kind in KINDS]
        yield _bar_chart(
            f"HTTP service: latency, {name}, milliseconds",
            "",
            [(words, value, f"{value:.2f} ms", ours) for words, value, ours in values],
        )


def _bar_chart(title: str, note: str, values: list[tuple[str, float, str, bool]], goals: dict[str, float] | None = None) -> Bars:
    most = max([value for _words, value, _text, _ours in values] + list((goals or {}).values())) or 1.0

    def width(value: float) -> float:
        return round(value / most * (BAR_RIGHT - BAR_LEFT), 1)

    bars = [
        Bar(
            words,
            index * BAR_STEP,
            width(value),
            text,
            "#1f6fd6" if ours else "#7d8899",
            width(goals[words]) if goals and words in goals else None,
        )
        for index, (words, value, text, ours) in enumerate(values)
    ]
    return Bars(title, note, tuple(bars), len(bars) * BAR_STEP)
