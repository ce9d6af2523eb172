# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do the benchmarks say what the raw figures say, good or bad?"""

from __future__ import annotations

import typing as t

import pytest

from benchmarks.lines import Line, lines, p99, table
from benchmarks.picture import render


def document(entry: list[float], *, suspended: float = 0.0, patched: float = 2.0) -> dict[str, t.Any]:
    """Figures of a floor of 1 ms."""
    floor = [1000.0] * len(entry)
    series = {"floor": floor, "bare": [400.0] * len(entry), "entry": entry, "functions": [1500.0] * len(entry), "revert": floor}
    calls = {"unpatched": [1.0], "patched": [patched], "direct": [1.0], "one_jump": [2.0], "two_jumps": [3.0]}
    return {
        "machine": {"processors": 2, "load_before": 0.5, "load_after": 1.5},
        "began": 1_790_000_000.0,
        "ended": 1_790_000_060.0,
        "measured": {
            "stop/process/64": {"threads": 65, "verdict": "applied", "budget_us": 50_000, "series": series},
            "unstopped/short": {"threads": 65, "series": {"suspended": [0.0, suspended], "stop_us": [0.0, 0.0]}},
            "calls/near": {"series": calls},
        },
        "not_measured": {},
    }


def line(made: list[Line], words: str) -> Line:
    (found,) = (each for each in made if each.name == words)
    return found


def test_goals_are_met_by_figures_near_their_floor() -> None:
    made = lines(document([1400.0] * 100))
    assert line(made, "entry, median").ratio == pytest.approx(1.4)
    assert [each.name for each in made if each.met is False] == []
    assert sum(each.met is True for each in made) == 6


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({"entry": [1600.0] * 100}, ["entry, median"]),
        ({"entry": [1400.0] * 98 + [2500.0] * 2}, ["entry, 99th percentile"]),
        ({"entry": [1400.0] * 98 + [60_000.0] * 2}, ["entry, 99th percentile", "entry within the usual budget of 50 ms"]),
        ({"entry": [1400.0] * 100, "suspended": 1.0}, ["short redirection, most threads seen suspended of 65"]),
        ({"entry": [1400.0] * 100, "patched": 2.5}, ["patched, against a function with one jump more"]),
    ],
)
def test_a_missed_goal_is_shown_as_missed(changed: dict[str, t.Any], missed: list[str]) -> None:
    figures = document(**changed)
    made = lines(figures)
    assert [each.name for each in made if each.met is False] == missed
    assert table(made).count("MISSED") == len(missed)
    assert render(figures, made).count(">MISSED<") == len(missed)


def test_what_was_not_measured_stands_in_table_and_picture_with_its_reason() -> None:
    figures = document([1400.0] * 100)
    figures["not_measured"] = {"preflight": "the target does not start"}
    made = lines(figures)
    assert "the target does not start" in table(made)
    assert "the target does not start" in render(figures, made)


def test_the_99th_percentile_leaves_out_one_of_a_hundred_and_no_more() -> None:
    assert p99([1.0] * 99 + [1000.0]) < 20.0
    assert p99([1.0] * 97 + [1000.0] * 3) == 1000.0
