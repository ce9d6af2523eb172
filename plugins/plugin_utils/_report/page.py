# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""How does the report become one HTML page? Geometry of its pictures, and the template with style and script put in.

The page loads nothing and its Content-Security-Policy forbids it to; only the one script and the one style sheet whose hashes the
policy names take effect, so that nothing a host reports can run, even if escaping were to fail.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import pathlib
import typing as t
from dataclasses import dataclass

import jinja2
import markupsafe

from .collect import CalendarEntry, HostRow, LevelGroup, ProductCalendar, Report
from .words import DETAILS, TRACKS, VERDICTS

_FOLDER: t.Final = pathlib.Path(__file__).parent
_BAR_WIDTH: t.Final = 560.0
_LINE_WIDTH: t.Final = 1000.0
_LINE_MARGIN: t.Final = 60.0
FIRST_ROWS: t.Final = 50
"""Rows of the host table that stand in the page itself, for readers without JavaScript and for print."""
_SHOWN_LEVELS: t.Final = 16


@dataclass(frozen=True)
class Segment:
    """A piece of a bar."""

    verdict: str
    count: int
    x: float
    width: float


@dataclass(frozen=True)
class Bar:
    """A level with its bar."""

    level: LevelGroup
    segments: tuple[Segment, ...]
    end: float


@dataclass(frozen=True)
class Mark:
    """A month on a time line; ``reboot`` marks are baselines."""

    x: float
    entry: CalendarEntry
    past: bool


@dataclass(frozen=True)
class TimeLine:
    """A product's quarter on a line from 0 to 1000."""

    calendar: ProductCalendar
    marks: tuple[Mark, ...]
    today: float
    today_anchor: str


def render(report: Report) -> str:
    """The page as text."""
    style = (_FOLDER / "report.css").read_text(encoding="utf-8")
    script = (_FOLDER / "report.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(day=_day, stop_time=_stop_time, plural=_plural)
    return environment.get_template("report.html.j2").render(
        report=report,
        verdict_words=VERDICTS,
        track_words=TRACKS,
        detail_words=DETAILS,
        bars=bars(report),
        other_levels=len(report.levels[_SHOWN_LEVELS:]),
        other_hosts=sum(level.total for level in report.levels[_SHOWN_LEVELS:]),
        timelines=[timeline(calendar, report.generated.date()) for calendar in report.calendars],
        days_to_baseline=_days_to_baseline(report),
        first_rows=report.hosts[:FIRST_ROWS],
        host_data=_script_json([_host_array(row) for row in report.hosts]),
        word_data=_script_json({"verdicts": VERDICTS, "tracks": TRACKS, "details": DETAILS}),
        style=markupsafe.Markup(style),
        script=markupsafe.Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _script_json(value: object) -> markupsafe.Markup:
    """JSON that stays data inside a script element whatever the strings hold: no ``<``, ``>`` or ``&`` is left in it."""
    text = json.dumps(value, separators=(",", ":"))
    return markupsafe.Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _host_array(row: HostRow) -> list[object]:
    return [
        row.name,
        row.ring,
        row.product,
        row.build,
        row.kb,
        row.track,
        row.verdict,
        row.detail,
        row.action,
        row.reboot,
        row.open_cves,
        row.worst,
        row.payloads,
        " ".join(row.reasons),
    ]


# -- pictures ------------------------------------------------------------------------------------------------------------------


def bars(report: Report) -> list[Bar]:
    """A bar for each of the first levels; lengths are comparable, and the smallest piece can still be seen."""
    shown = report.levels[:_SHOWN_LEVELS]
    most = max((level.total for level in shown), default=1)
    result = []
    for level in shown:
        x = 0.0
        segments = []
        for verdict, count in level.counts.items():
            width = max(count / most * _BAR_WIDTH, 4.0)
            segments.append(Segment(verdict, count, round(x, 1), round(width, 1)))
            x += width + 2.0
        result.append(Bar(level, tuple(segments), round(x, 1)))
    return result


def timeline(calendar: ProductCalendar, today: datetime.date) -> TimeLine:
    """The months of a quarter and today on one line."""
    dates = [entry.date for entry in calendar.entries] + [today]
    first, last = min(dates), max(dates)
    days = max((last - first).days, 1)

    def place(date: datetime.date) -> float:
        return round(_LINE_MARGIN + (date - first).days / days * (_LINE_WIDTH - 2 * _LINE_MARGIN), 1)

    marks = tuple(Mark(place(entry.date), entry, entry.date <= today) for entry in calendar.entries)
    return TimeLine(calendar, marks, place(today), "end" if place(today) > _LINE_WIDTH / 2 else "start")


def _days_to_baseline(report: Report) -> int | None:
    dates = [calendar.next_baseline for calendar in report.calendars if calendar.next_baseline is not None]
    return (min(dates) - report.generated.date()).days if dates else None


# -- words ---------------------------------------------------------------------------------------------------------------------


def _day(value: datetime.date | datetime.datetime | None) -> str:
    if value is None:
        return ""
    return value.strftime("%Y-%m-%d %H:%M UTC") if isinstance(value, datetime.datetime) else value.strftime("%-d %b %Y")


def _stop_time(microseconds: float | None) -> str:
    if microseconds is None:
        return "not stopped"
    if microseconds >= 1000:
        return f"{microseconds / 1000:.1f} ms"
    return f"{microseconds:.0f} µs" if microseconds else "0 µs"


def _plural(count: int, word: str, words: str = "") -> str:
    return f"{count:,} {word if count == 1 else words or word + 's'}"
