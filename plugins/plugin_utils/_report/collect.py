# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What does a fleet look like as a whole? From the data of single hosts to the numbers and groups the page shows.

The input is what the report role collected; every key of a host but ``name`` may be missing::

    {"title": "...", "generated": "2026-05-16T22:10:00+00:00",
     "hosts": [{"name": "web1", "ring": "canary", "info": <host_info>, "assessment": <docs/decision.md>,
                "error": <error of a failed task>, "results": [{"step": "apply", "outcome": "changed", "text": "..."}]}]}
"""

from __future__ import annotations

import datetime
import statistics
import typing as t
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.model import PRODUCTS
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import ERRORS, HotpatchError

from .words import ACTIONS, REMEDIES, SEVERITIES, VERDICTS

Json = Mapping[str, t.Any]

NAMED_HOSTS: t.Final = 60
"""How many hosts of a group are named; a group of thousands is a number."""


@dataclass(frozen=True)
class HostRow:
    """One line of the table of all hosts."""

    name: str
    ring: str
    product: str
    build: str
    kb: str
    month: str
    track: str
    verdict: str
    detail: str
    action: str
    reboot: bool
    open_cves: int
    worst: str
    payloads: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class LevelGroup:
    """All hosts on one level, counted by verdict."""

    product: str
    build: str
    kb: str
    month: str
    track: str
    counts: Mapping[str, int]

    @property
    def total(self) -> int:
        """The hosts of the group."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Names:
    """Some hosts by name, and how many there are."""

    shown: tuple[str, ...]
    total: int

    @property
    def more(self) -> int:
        """How many are not shown."""
        return self.total - len(self.shown)


@dataclass(frozen=True)
class OpenCveRow:
    """A CVE that stays open somewhere."""

    cve: str
    title: str
    severity: str
    cvss: float | None
    exploited: bool
    until: str
    closed_by: tuple[str, ...]
    hosts: Names
    covered: int


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of one program that run a payload."""

    program: str
    service: str
    state: str
    processes: int
    hosts: Names
    since: datetime.datetime | None
    stop_us: float | None
    longest_us: float | None


@dataclass(frozen=True)
class PayloadRow:
    """A payload that is in force or wanted somewhere."""

    id: str
    sequence: int
    cves: tuple[str, ...]
    hosts: Names
    missing: Names
    """Hosts that want it and do not have it in force."""
    processes: int
    groups: tuple[ProcessGroup, ...]


@dataclass(frozen=True)
class Gap:
    """Processes that still run the vulnerable code, for one reason."""

    payload: str
    code: str
    text: str
    remedy: str
    programs: tuple[str, ...]
    processes: int
    hosts: Names


@dataclass(frozen=True)
class ToDo:
    """Hosts that wait for the same thing."""

    verdict: str
    what: str
    remedy: str
    hosts: Names


@dataclass(frozen=True)
class Outcome:
    """What a step of the run came to, on how many hosts."""

    step: str
    outcome: str
    text: str
    hosts: Names


@dataclass(frozen=True)
class CalendarEntry:
    """A month on the time line."""

    date: datetime.date
    month: str
    planned: str
    actual: str | None
    kb: str
    build: str

    @property
    def kind(self) -> str:
        """What the month is, or is planned as."""
        return self.actual or self.planned

    @property
    def unplanned(self) -> bool:
        """Became a baseline although planned as a hotpatch month."""
        return self.actual == "baseline" and self.planned == "hotpatch"


@dataclass(frozen=True)
class ProductCalendar:
    """The quarter of one product."""

    product: str
    entries: tuple[CalendarEntry, ...]
    next_baseline: datetime.date | None


@dataclass(frozen=True)
class Report:
    """Everything the page shows."""

    title: str
    generated: datetime.datetime
    catalog_date: str
    stale: bool
    hosts: tuple[HostRow, ...]
    verdicts: Mapping[str, int]
    levels: tuple[LevelGroup, ...]
    calendars: tuple[ProductCalendar, ...]
    payloads: tuple[PayloadRow, ...]
    gaps: tuple[Gap, ...]
    open_cves: tuple[OpenCveRow, ...]
    todos: tuple[ToDo, ...]
    outcomes: tuple[Outcome, ...]
    reboots_avoided: int
    patched_processes: int
    undecided: Names
    undecided_open: int
    """Of the hosts whose level could not be judged: the most CVEs that are open on one of them."""

    @property
    def critical_open(self) -> int:
        """Open CVEs that are critical or exploited, and not covered on every host."""
        return sum((row.severity == "Critical" or row.exploited) and row.covered < row.hosts.total for row in self.open_cves)

    def count(self, *verdicts: str) -> int:
        """The hosts with one of the verdicts."""
        return sum(self.verdicts.get(verdict, 0) for verdict in verdicts)


def collect(data: Json) -> Report:
    """The report of a fleet; raises HotpatchError ``argument_invalid`` when the data has not the documented shape."""
    hosts = data.get("hosts")
    if not isinstance(hosts, list | tuple) or not all(isinstance(host, Mapping) and isinstance(host.get("name"), str) for host in hosts):
        raise HotpatchError("argument_invalid", "The report needs 'hosts': a list of mappings with 'name'.", where="hosts")
    entries: list[Json] = sorted(hosts, key=lambda host: str(host["name"]))
    rows = tuple(_row(host) for host in entries)
    payloads = _payloads(entries)
    undecided = [host for host in entries if _is_undecided(host)]
    states = [_assessment(host).get("catalog") or {} for host in entries]
    return Report(
        title=str(data.get("title") or "Hotpatch report"),
        generated=_moment(data.get("generated")),
        catalog_date=max((str(state["date"]) for state in states if state.get("date")), default=""),
        stale=any(state.get("stale") for state in states),
        hosts=rows,
        verdicts={verdict: count for verdict in VERDICTS if (count := sum(row.verdict == verdict for row in rows))},
        levels=_levels(rows),
        calendars=_calendars(entries),
        payloads=payloads,
        gaps=_gaps(entries),
        open_cves=_open_cves(entries),
        todos=_todos(entries, rows),
        outcomes=_outcomes(entries),
        reboots_avoided=sum(int(_assessment(host).get("reboots_avoided") or 0) for host in entries),
        patched_processes=sum(payload.processes for payload in payloads),
        undecided=_names(str(host["name"]) for host in undecided),
        undecided_open=max((int((_assessment(host).get("open_now") or {}).get("count") or 0) for host in undecided), default=0),
    )


def _moment(value: object) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(str(value))
    except ValueError as problem:
        raise HotpatchError(
            "argument_invalid", f"{value!r} is not a moment like 2026-05-16T22:10:00+00:00.", where="generated"
        ) from problem
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def _assessment(host: Json) -> Json:
    value = host.get("assessment")
    return value if isinstance(value, Mapping) else {}


def _info(host: Json) -> Json:
    value = host.get("info")
    return value if isinstance(value, Mapping) else {}


def _names(hosts: Iterable[str]) -> Names:
    known = sorted(set(hosts))
    return Names(tuple(known[:NAMED_HOSTS]), len(known))


# -- hosts and levels --------------------------------------------------------------------------------------------------------


def _row(host: Json) -> HostRow:
    answer, info = _assessment(host), _info(host)
    level = answer.get("level") or {}
    residual = [row for row in answer.get("residual") or () if not row.get("covered_by")]
    severities = {str(row.get("severity")) for row in residual}
    action = answer.get("next_action") or {}
    machine = info.get("host") or {}
    build = level.get("build") or (f"{machine['current_build']}.{machine['ubr']}" if "ubr" in machine else "")
    return HostRow(
        name=str(host["name"]),
        ring=str(host.get("ring") or ""),
        product=_product(answer, machine),
        build=str(build),
        kb=str(level.get("kb") or ""),
        month=str(level.get("month") or ""),
        track=str(answer.get("track") or "unknown"),
        verdict=str(answer.get("verdict") or "no_answer"),
        detail=str(answer.get("detail") or ""),
        action=_action(host, action),
        reboot=bool(action.get("reboot")) or any(step.get("reboot") for step in action.get("then") or ()),
        open_cves=len(residual),
        worst=next((severity for severity in SEVERITIES if severity in severities), ""),
        payloads=sum(payload.get("state") == "in_force" for payload in info.get("payloads") or ()),
        reasons=_reasons(host, answer),
    )


def _product(answer: Json, machine: Json) -> str:
    product = PRODUCTS.get(str(answer.get("product")))
    return product.title if product else str(machine.get("product_name") or "")


def _action(host: Json, action: Json) -> str:
    steps = [step for step in (action, *(action.get("then") or ())) if step.get("kind") not in (None, "none")]
    words = [" ".join(part for part in (ACTIONS.get(str(step["kind"]), ""), str(step.get("kb") or "")) if part) for step in steps]
    payloads = [f"payload {payload.get('id')}" for payload in _wanted(host)]
    text = ", then ".join([*payloads, *words])
    return text[:1].upper() + text[1:]


def _reasons(host: Json, answer: Json) -> tuple[str, ...]:
    error = host.get("error")
    told = [str(error.get("message") or "")] if isinstance(error, Mapping) else []
    return (*told, *(str(row.get("text") or "") for row in answer.get("reasons") or ()))


def _levels(rows: Sequence[HostRow]) -> tuple[LevelGroup, ...]:
    groups: dict[tuple[str, str, str, str, str], dict[str, int]] = {}
    for row in rows:
        counts = groups.setdefault((row.product, row.build, row.kb, row.month, row.track), {})
        counts[row.verdict] = counts.get(row.verdict, 0) + 1
    found = [
        LevelGroup(product, build, kb, month, track, {verdict: counts[verdict] for verdict in VERDICTS if verdict in counts})
        for (product, build, kb, month, track), counts in groups.items()
    ]
    return tuple(sorted(found, key=lambda group: (group.product == "", group.product, _newest_first(group))))


def _newest_first(group: LevelGroup) -> tuple[int, ...]:
    """By build, newest first; within a product the revision orders months, and what was not reported comes last."""
    return tuple(-int(part) for part in group.build.split(".") if part.isdigit()) or (1,)


# -- calendar ------------------------------------------------------------------------------------------------------------------


def _calendars(hosts: Sequence[Json]) -> tuple[ProductCalendar, ...]:
    found: dict[str, ProductCalendar] = {}
    for host in hosts:
        answer = _assessment(host)
        title = _product(answer, {})
        if title and title not in found and answer.get("calendar"):
            baseline = answer.get("next_baseline") or {}
            found[title] = ProductCalendar(
                title,
                tuple(_calendar_entry(row) for row in answer["calendar"]),
                datetime.date.fromisoformat(baseline["date"]) if baseline.get("date") else None,
            )
    return tuple(found[title] for title in sorted(found, reverse=True))


def _calendar_entry(row: Json) -> CalendarEntry:
    return CalendarEntry(
        date=datetime.date.fromisoformat(str(row["date"])),
        month=str(row["month"]),
        planned=str(row["planned"]),
        actual=str(row["actual"]) if row.get("actual") else None,
        kb=str(row.get("kb") or ""),
        build=str(row.get("build") or ""),
    )


# -- payloads ------------------------------------------------------------------------------------------------------------------


def _payloads(hosts: Sequence[Json]) -> tuple[PayloadRow, ...]:
    found: dict[str, list[tuple[str, Json]]] = {}
    missing: dict[str, list[tuple[str, Json]]] = {}
    for host in hosts:
        for payload in _info(host).get("payloads") or ():
            found.setdefault(str(payload.get("id")), []).append((str(host["name"]), payload))
        for payload in _wanted(host):
            missing.setdefault(str(payload.get("id")), []).append((str(host["name"]), payload))
    return tuple(_payload(name, found.get(name, []), missing.get(name, [])) for name in sorted({*found, *missing}))


def _wanted(host: Json) -> list[Json]:
    """The payloads that a host wants and does not have in force."""
    rows = (_assessment(host).get("payloads") or {}).get("wanted") or ()
    return [row for row in rows if not row.get("in_force")]


def _payload(name: str, found: Sequence[tuple[str, Json]], missing: Sequence[tuple[str, Json]]) -> PayloadRow:
    groups: dict[tuple[str, str, str], list[tuple[str, Json]]] = {}
    for host, payload in found:
        for process in payload.get("processes") or ():
            program = str(process.get("image") or "").rpartition("\\")[2]
            key = (program, str(process.get("service") or ""), str(process.get("state") or "unknown"))
            groups.setdefault(key, []).append((host, process))
    applied = sum(len(rows) for key, rows in groups.items() if key[2] == "applied")
    return PayloadRow(
        id=name,
        sequence=max(int(payload.get("sequence") or 0) for _host, payload in (*found, *missing)),
        cves=tuple(sorted({str(cve) for _host, payload in (*found, *missing) for cve in payload.get("cves") or ()})),
        hosts=_names(host for host, payload in found if payload.get("state") == "in_force"),
        missing=_names(host for host, _payload in missing),
        processes=applied,
        groups=tuple(_process_group(key, groups[key]) for key in sorted(groups)),
    )


def _process_group(key: tuple[str, str, str], rows: Sequence[tuple[str, Json]]) -> ProcessGroup:
    stops = [float(process["stop_us"]) for _host, process in rows if process.get("stop_us") is not None]
    since = min((int(process["since"]) for _host, process in rows if process.get("since")), default=None)
    return ProcessGroup(
        program=key[0],
        service=key[1],
        state=key[2],
        processes=len(rows),
        hosts=_names(host for host, _process in rows),
        since=datetime.datetime.fromtimestamp(since, datetime.UTC) if since is not None else None,
        stop_us=statistics.median(stops) if stops else None,
        longest_us=max(stops, default=None),
    )


def _gaps(hosts: Sequence[Json]) -> tuple[Gap, ...]:
    found: dict[tuple[str, str, str], list[tuple[str, Json]]] = {}
    for host in hosts:
        for row in _info(host).get("coverage") or ():
            key = (str(row.get("payload")), str(row.get("code")), str(row.get("remedy") or ""))
            found.setdefault(key, []).append((str(host["name"]), row))
    return tuple(
        Gap(
            payload=payload,
            code=code,
            text=ERRORS[code].text if code in ERRORS else code,
            remedy=REMEDIES.get(remedy, remedy),
            programs=tuple(sorted({str(row.get("image") or "").rpartition("\\")[2] for _host, row in found[payload, code, remedy]})),
            processes=len(found[payload, code, remedy]),
            hosts=_names(host for host, _row in found[payload, code, remedy]),
        )
        for payload, code, remedy in sorted(found)
    )


# -- what remains open ---------------------------------------------------------------------------------------------------------


def _open_cves(hosts: Sequence[Json]) -> tuple[OpenCveRow, ...]:
    found: dict[str, list[tuple[str, Json]]] = {}
    for host in hosts:
        for row in () if _is_undecided(host) else _assessment(host).get("residual") or ():
            found.setdefault(str(row.get("cve")), []).append((str(host["name"]), row))
    rows = [_open_cve(cve, entries) for cve, entries in found.items()]
    return tuple(sorted(rows, key=lambda row: (not row.exploited, _rank(row.severity), -(row.cvss or 0.0), row.cve)))


def _is_undecided(host: Json) -> bool:
    """A host whose level could not be judged: everything is open on it until a person decides, not until a date."""
    answer = _assessment(host)
    return answer.get("verdict") == "blocked" and (answer.get("level") or {}).get("evidence") in (None, "ambiguous", "none")


def _open_cve(cve: str, entries: Sequence[tuple[str, Json]]) -> OpenCveRow:
    # The worst that any host's product is told: the same CVE can be critical on one product and important on another.
    severities = {str(row.get("severity") or "") for _host, row in entries}
    dates = sorted({str(row["open_until"]) for _host, row in entries if row.get("open_until")})
    return OpenCveRow(
        cve=cve,
        title=str(entries[0][1].get("title") or ""),
        severity=min(severities, key=_rank),
        cvss=max((float(row["cvss"]) for _host, row in entries if row.get("cvss") is not None), default=None),
        exploited=any(row.get("exploited") for _host, row in entries),
        until=dates[-1] if dates else "",
        closed_by=tuple(sorted({str(kb) for _host, row in entries for kb in row.get("closed_by") or ()})),
        hosts=_names(host for host, _row in entries),
        covered=sum(bool(row.get("covered_by")) for _host, row in entries),
    )


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


# -- what people must do -------------------------------------------------------------------------------------------------------


def _todos(hosts: Sequence[Json], rows: Sequence[HostRow]) -> tuple[ToDo, ...]:
    found: dict[tuple[str, str, str], tuple[str, list[str]]] = {}
    for host, row in zip(hosts, rows, strict=True):
        for code, what, remedy in _open_points(host, row):
            _what, names = found.setdefault((row.verdict, code, remedy), (what, []))
            names.append(row.name)
    order = list(reversed(VERDICTS))
    todos = [ToDo(verdict, what, remedy, _names(names)) for (verdict, _code, remedy), (what, names) in found.items()]
    return tuple(sorted(todos, key=lambda todo: (order.index(todo.verdict), -todo.hosts.total, todo.what, todo.remedy)))


def _open_points(host: Json, row: HostRow) -> list[tuple[str, str, str]]:
    """Code, what is the matter, and what to do, for a host that waits for a person."""
    error = host.get("error")
    if row.verdict == "no_answer":
        known = error if isinstance(error, Mapping) else {}
        code = str(known.get("code") or "host_unreachable")
        text = ERRORS[code] if code in ERRORS else ERRORS["host_unreachable"]
        return [(code, text.text, str(known.get("remedy") or text.remedy))]
    answer = _assessment(host)
    if row.verdict not in ("not_eligible", "not_enrolled", "blocked"):
        return []
    unmet = [] if row.verdict == "blocked" else [rule for rule in answer.get("prerequisites") or () if rule.get("met") is not True]
    if unmet:
        return [(str(rule["code"]), str(rule["text"]), str(rule["remedy"])) for rule in unmet]
    return [(str(reason["code"]), str(reason["text"]), "") for reason in (answer.get("reasons") or ())[:1]]


def _outcomes(hosts: Sequence[Json]) -> tuple[Outcome, ...]:
    found: dict[tuple[str, str, str], list[str]] = {}
    for host in hosts:
        for row in host.get("results") or ():
            key = (str(row.get("step") or ""), str(row.get("outcome") or ""), str(row.get("text") or ""))
            found.setdefault(key, []).append(str(host["name"]))
    return tuple(Outcome(step, outcome, text, _names(names)) for (step, outcome, text), names in found.items())
