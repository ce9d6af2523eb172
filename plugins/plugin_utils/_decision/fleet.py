# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What may happen on which host at this moment? Rings, windows, freezes, soak time and failure budgets over many assessments."""

from __future__ import annotations

import datetime
import enum
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .assessment import Action, ActionKind, Assessment, Verdict
from .codec import decode, encode
from .policy import Freeze, Policy, Ring
from .reasons import Reason, reason

_HORIZON_DAYS: t.Final = 366
"""How far ahead the next opening of a window is looked for."""


class ProgressState(enum.Enum):
    """How a host came out of this run."""

    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Progress:
    """A host that was worked on in this run; ``at`` is seconds since 1970."""

    state: ProgressState
    at: float

    @classmethod
    def from_dict(cls, document: object) -> dict[str, Progress]:
        """Read ``{"web1": {"state": "done", "at": 1775000000}}``; raises HotpatchError ``policy_invalid``."""
        return decode(_ProgressMap, {"hosts": document}, where="progress", code="policy_invalid").hosts


@dataclass(frozen=True)
class _ProgressMap:
    hosts: dict[str, Progress]


class RingState(enum.Enum):
    """Where a ring stands."""

    DONE = "done"
    OPEN = "open"
    WAITING = "waiting"
    STOPPED = "stopped"


@dataclass(frozen=True)
class HostPlan:
    """What may happen on a host now. ``reboot_allowed``: the window is open and nothing is frozen."""

    host: str
    may: bool
    action: Action
    reboot_allowed: bool
    payloads_allowed: bool
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class RingPlan:
    """A ring and its hosts; ``opens_at`` is when its window or its turn comes, where that is known."""

    name: str
    state: RingState
    reasons: tuple[Reason, ...]
    opens_at: datetime.datetime | None
    hosts: tuple[HostPlan, ...]


@dataclass(frozen=True)
class FleetPlan:
    """The whole fleet at one moment; ``stopped`` says why nothing more is started."""

    now: datetime.datetime
    stopped: Reason | None
    rings: tuple[RingPlan, ...]

    def as_dict(self) -> dict[str, t.Any]:
        """The JSON shape of docs/decision.md."""
        return t.cast("dict[str, t.Any]", encode(self))


@dataclass(frozen=True)
class _Gate:
    """Whether a ring may reboot now; if not, why, and when."""

    open: bool
    opens_at: datetime.datetime | None = None
    why: Reason | None = None


def plan_fleet(
    assessments: Mapping[str, Assessment],
    rings: Sequence[Ring],
    policy: Policy,
    now: datetime.datetime,
    progress: Mapping[str, Progress] | None = None,
) -> FleetPlan:
    """What may happen now, ring by ring.

    :param now: a moment with a time zone.
    :param progress: the hosts already worked on in this run.
    """
    now = now.astimezone(datetime.UTC)
    seen = progress or {}
    plans: list[RingPlan] = []
    stopped: Reason | None = None
    turn = _Gate(open=True)
    for ring in rings:
        stopped = stopped or _budget(ring, seen)
        plan = _plan_ring(
            ring, assessments, policy, now, seen, turn if stopped is None else _Gate(False, None, stopped), stopped is not None
        )
        plans.append(plan)
        turn = _next_turn(turn, ring, plan, now, seen)
    if rest := tuple(sorted(set(assessments) - {host for ring in rings for host in ring.hosts})):
        plans.append(_no_ring(rest, assessments))
    return FleetPlan(now, stopped, tuple(plans))


def _budget(ring: Ring, seen: Mapping[str, Progress]) -> Reason | None:
    failed = [host for host in ring.hosts if host in seen and seen[host].state is ProgressState.FAILED]
    if len(failed) <= ring.failure_budget:
        return None
    return reason("budget_used", failed=len(failed), ring=ring.name, hosts=", ".join(failed[:5]), budget=ring.failure_budget)


def _next_turn(turn: _Gate, ring: Ring, plan: RingPlan, now: datetime.datetime, seen: Mapping[str, Progress]) -> _Gate:
    """Whether the ring after this one may begin."""
    if not turn.open:
        return turn
    if plan.state is not RingState.DONE:
        return _Gate(False, None, reason("ring_waits", ring=ring.name))
    finished = max((seen[host].at for host in ring.hosts if host in seen), default=None)
    if finished is None:
        # Nothing was changed in this ring, so there is nothing that has to prove itself.
        return turn
    until = datetime.datetime.fromtimestamp(finished, datetime.UTC) + datetime.timedelta(hours=ring.soak_hours)
    return turn if until <= now else _Gate(False, until, reason("ring_soaks", ring=ring.name, until=_shown(until)))


def _plan_ring(
    ring: Ring,
    assessments: Mapping[str, Assessment],
    policy: Policy,
    now: datetime.datetime,
    seen: Mapping[str, Progress],
    turn: _Gate,
    stopped: bool,
) -> RingPlan:
    gate = _reboot_gate(ring, policy, now)
    hosts = tuple(_plan_host(host, assessments[host], gate, turn, seen.get(host)) for host in ring.hosts if host in assessments)
    done = all(_is_done(assessments[plan.host], seen.get(plan.host)) for plan in hosts)
    state = RingState.STOPPED if stopped else RingState.DONE if done else RingState.OPEN if turn.open else RingState.WAITING
    whys = (turn.why,) if turn.why is not None and state in (RingState.WAITING, RingState.STOPPED) else ()
    opens_at = turn.opens_at if state is RingState.WAITING else gate.opens_at if state is RingState.OPEN else None
    return RingPlan(ring.name, state, whys, opens_at, hosts)


def _is_done(assessment: Assessment, seen: Progress | None) -> bool:
    """Worked on, or nothing that this run could do: a host that waits for a person does not hold up the others."""
    return seen is not None or not _has_work(assessment)


def _has_work(assessment: Assessment) -> bool:
    payloads = assessment.payloads
    missing = any(not wanted.in_force for wanted in payloads.wanted)
    return assessment.next_action.kind is not ActionKind.NONE or missing or bool(payloads.drop)


def _plan_host(host: str, assessment: Assessment, gate: _Gate, turn: _Gate, seen: Progress | None) -> HostPlan:
    action = assessment.next_action
    whys: list[Reason] = []
    if seen is not None:
        whys.append(reason(seen.state.value))
    elif assessment.verdict is Verdict.BLOCKED:
        whys.append(reason("needs_person"))
    elif not _has_work(assessment):
        whys.append(reason("nothing_to_do"))
    elif turn.why is not None:
        whys.append(turn.why)
    elif action.reboot and gate.why is not None:
        whys.append(gate.why)
    turned = turn.open and seen is None
    may = turned and action.kind is not ActionKind.NONE and (gate.open or not action.reboot)
    return HostPlan(host, may, action, gate.open and turned, turned, tuple(whys))


def _no_ring(hosts: Sequence[str], assessments: Mapping[str, Assessment]) -> RingPlan:
    why = reason("in_no_ring")
    rows = tuple(HostPlan(host, False, assessments[host].next_action, False, False, (why,)) for host in hosts)
    return RingPlan("(none)", RingState.WAITING, (why,), None, rows)


# -- windows and freezes -----------------------------------------------------------------------------------------------------


def _reboot_gate(ring: Ring, policy: Policy, now: datetime.datetime) -> _Gate:
    """Whether the ring may reboot now."""
    window = policy.windows[ring.window] if ring.window is not None else None
    frozen = _freeze(policy, now.astimezone(window.zone if window else datetime.UTC).date())
    if window is None:
        return _Gate(True) if frozen is None else _frozen_gate(frozen, None)
    openings = (
        (begin, end)
        for begin, end in window.openings(now, _HORIZON_DAYS)
        if _freeze(policy, max(begin, now).astimezone(window.zone).date()) is None
    )
    opening = next(openings, None)
    if opening is not None and opening[0] <= now:
        return _Gate(True)
    opens_at = opening[0] if opening else None
    if frozen is not None:
        return _frozen_gate(frozen, opens_at)
    if opens_at is None:
        return _Gate(False, None, reason("window_never", window=ring.window, days=_HORIZON_DAYS))
    return _Gate(False, opens_at, reason("window_closed", window=ring.window, opens=_shown(opens_at.astimezone(window.zone))))


def _frozen_gate(freeze: Freeze, opens_at: datetime.datetime | None) -> _Gate:
    return _Gate(False, opens_at, reason("freeze", until=freeze.until, why=freeze.reason or "no reason given"))


def _freeze(policy: Policy, day: datetime.date) -> Freeze | None:
    return next((freeze for freeze in policy.freeze if freeze.covers(day)), None)


def _shown(moment: datetime.datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M %Z}"
