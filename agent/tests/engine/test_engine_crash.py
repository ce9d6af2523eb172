# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the target all old or all new, and running, wherever the engine is killed?

The engine dies before and after every journal record, between any two writes, and at every step of the stop: all places are counted
first and then tried one after the other, none is sampled.
"""

from __future__ import annotations

import itertools
import time
import typing as t

import pytest
from engine_driver import JSON, KILLED, Engine, Prefix, Target, released
from engine_payloads import TargetModule, make_payload

LONGEST = 500  # more places than any operation has

# How the host and the crash are: Wine as it is; as on Windows (threads stopped singly, nobody writes to a page that is not writable);
# the same, and the guard is killed together with the engine, so that only the files are left.
HOSTS: t.Final[dict[str, dict[str, str]]] = {
    "wine": {},
    "windows": {"HOTPATCH_STOP_METHOD": "threads", "HOTPATCH_STRICT_PAGES": "1"},
    "windows-guard-dies": {"HOTPATCH_STOP_METHOD": "threads", "HOTPATCH_STRICT_PAGES": "1", "HOTPATCH_GUARD_DIES": "1"},
    "wine-guard-dies": {"HOTPATCH_GUARD_DIES": "1"},
}
# No exception passes through these: the C++ runtime's freed record of one would keep pointing into new code, and its region would
# rightly be kept for as long as that memory is not used again.
BOTH: t.Final = {"near_answer": "near", "recurse": "near"}


def answers(target: Target) -> tuple[str, str]:
    return target.ask("call near_answer"), target.ask("recurse 4")


OLD, NEW = ("10", "4"), ("20", "8")


def operation_killed_at(engine: Engine, op: str, **arguments: t.Any) -> bool:
    """True when the engine died in the operation, false when it came to its end before the place."""
    reply = None
    try:
        reply = engine.one(op, **arguments)
    except AssertionError:
        assert engine.wait() == KILLED
        return True
    assert reply["verdict"] in {"applied", "reverted"}, reply
    engine.end()
    return False


def threads_still_run(target: Target) -> bool:
    """Every thread that was stopped was resumed: the callers go on, without one wrong answer."""
    before = target.counts()[0]
    for _ in range(1000):
        now, bad = target.counts()
        assert bad == 0
        if now > before:
            return True
        time.sleep(0.02)
    return False


def settle(prefix: Prefix) -> Engine:
    """The next start, as the service would make it."""
    engine = prefix.engine()
    reply = engine.request("usage")
    assert "error" not in reply, reply
    return engine


@pytest.mark.slow
@pytest.mark.parametrize("host", HOSTS)
def test_killed_anywhere_in_an_apply(prefix: Prefix, sample: TargetModule, host: str) -> None:
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", BOTH, quiescence="functions")
    target = prefix.target()
    executable = target.usage()["executable"]
    target.ask("threads 2")
    outcomes = []
    for place in itertools.count(1):
        assert place < LONGEST
        died = operation_killed_at(prefix.engine(**HOSTS[host], HOTPATCH_FAULT_AT=str(place)), "apply", payload=payload)
        outcomes.append(check_settled(prefix, target, payload, executable))
        if not died:
            break
    assert outcomes[0] == OLD
    assert outcomes[-1] == NEW
    assert target.ask("stop").split()[1] == "0"


def check_settled(prefix: Prefix, target: Target, payload: JSON, executable: int) -> tuple[str, str]:
    """After the next start memory, journal and behaviour agree; the target is left with its old code. What it was found with."""
    engine = settle(prefix)
    assert threads_still_run(target)
    found = answers(target)
    in_force = engine.request("in_force")["in_force"]
    assert found in (OLD, NEW)
    assert [each["id"] for each in in_force] == ([payload["id"]] if found == NEW else [])
    assert [process["state"] for each in in_force for process in each["processes"]] == (["applied"] if found == NEW else [])
    if found == NEW:
        assert engine.one("revert", id=payload["id"])["verdict"] == "reverted"
    assert released(engine, target, executable)
    assert answers(target) == OLD
    engine.end()
    return found


@pytest.mark.parametrize("place", ["gathered", "resuming"])
@pytest.mark.parametrize("host", HOSTS)
def test_killed_in_a_stop_with_threads_that_came_into_being_in_it(prefix: Prefix, sample: TargetModule, host: str, place: str) -> None:
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"near_answer": "near"})
    target, outsider = prefix.target(), prefix.outsider()
    engine, hold = prefix.holding_engine("before stop", **HOSTS[host], HOTPATCH_FAULT_AT=place)
    listed = set(outsider.counts(target.pid))
    engine.begin("apply", payload=payload, pids=[target.pid], stop_budget_us=60_000_000)
    hold.wait()
    target.ask("threads 2")
    assert len(set(outsider.counts(target.pid)) - listed) == 2
    hold.release()
    assert engine.wait() == KILLED
    engine = settle(prefix)
    assert set(outsider.counts(target.pid).values()) == {0}
    assert threads_still_run(target)
    assert target.ask("call near_answer") == ("20" if place == "resuming" else "10")
    assert target.ask("stop").split()[1] == "0"


@pytest.mark.slow
@pytest.mark.parametrize("host", HOSTS)
def test_killed_anywhere_in_a_revert(prefix: Prefix, sample: TargetModule, host: str) -> None:
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", BOTH, quiescence="functions")
    target = prefix.target()
    executable = target.usage()["executable"]
    target.ask("threads 2")
    outcomes = []
    for place in itertools.count(1):
        assert place < LONGEST
        engine = prefix.engine()
        assert engine.one("apply", payload=payload)["verdict"] == "applied"
        engine.end()
        died = operation_killed_at(prefix.engine(**HOSTS[host], HOTPATCH_FAULT_AT=str(place)), "revert", id="fix")
        outcomes.append(check_settled(prefix, target, payload, executable))
        if not died:
            break
    assert outcomes[0] == NEW
    assert outcomes[-1] == OLD


@pytest.mark.slow
def test_killed_anywhere_while_entries_are_exchanged_without_a_stop(prefix: Prefix, sample: TargetModule) -> None:
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"short_answer": "short"})
    target = prefix.target()
    executable = target.usage()["executable"]
    for place in itertools.count(1):
        assert place < LONGEST
        died = operation_killed_at(prefix.engine(HOTPATCH_FAULT_AT=str(place)), "apply", payload=payload)
        engine = settle(prefix)
        in_force = [each["id"] for each in engine.request("in_force")["in_force"]]
        assert target.ask("call short_answer") == ("2" if in_force else "1")
        if in_force:
            assert engine.one("revert", id="fix")["verdict"] == "reverted"
        assert released(engine, target, executable)
        engine.end()
        if not died:
            break


@pytest.mark.slow
@pytest.mark.parametrize("host", ["wine", "windows-guard-dies"])
def test_killed_anywhere_while_a_payload_replaces_another(prefix: Prefix, sample: TargetModule, host: str) -> None:
    first = make_payload(sample, prefix.folder / "fix_one.cpp.obj", BOTH, quiescence="functions")
    second = make_payload(sample, prefix.folder / "fix_two.cpp.obj", BOTH, quiescence="functions", sequence=2)
    target = prefix.target()
    executable = target.usage()["executable"]
    for place in itertools.count(1):
        assert place < LONGEST
        engine = prefix.engine()
        assert engine.one("apply", payload=first)["verdict"] == "applied"
        engine.end()
        died = operation_killed_at(prefix.engine(**HOSTS[host], HOTPATCH_FAULT_AT=str(place)), "apply", payload=second)
        engine = settle(prefix)
        sequences = [each["sequence"] for each in engine.request("in_force")["in_force"]]
        assert (answers(target), sequences) in ((NEW, [1]), (("30", "12"), [2]))
        assert engine.one("revert", id="fix")["verdict"] == "reverted"
        assert released(engine, target, executable), place
        engine.end()
        assert answers(target) == OLD
        if not died:
            break


def test_a_torn_last_record_is_forgotten_and_a_damaged_one_before_it_is_not(prefix: Prefix, sample: TargetModule) -> None:
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"near_answer": "near"})
    target, engine = prefix.target(), prefix.engine()
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
    engine.end()
    journal = prefix.folder / "journal.log"
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole[8:60])
    engine = prefix.engine()
    assert [each["id"] for each in engine.request("in_force")["in_force"]] == ["fix"]
    engine.end()
    assert journal.read_bytes() == whole
    damaged = bytearray(whole)
    damaged[40] ^= 1
    journal.write_bytes(damaged)
    assert prefix.engine().request("in_force")["error"]["code"] == "journal_damaged"
    assert journal.read_bytes() == bytes(damaged)
    assert target.ask("call near_answer") == "20"


@pytest.mark.parametrize("damage", ["cut", "overwritten", "grown"])
def test_a_damaged_file_of_the_stop_is_made_anew_and_suspends_and_resumes_nobody(prefix: Prefix, sample: TargetModule, damage: str) -> None:
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"near_answer": "near"})
    target, engine, outsider = prefix.target(), prefix.engine(), prefix.outsider()
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
    engine.end()
    before = outsider.counts(target.pid)
    file = prefix.folder / "journal.log.stop"
    whole = file.read_bytes()
    file.write_bytes({"cut": whole[:100], "overwritten": b"\xff" * len(whole), "grown": whole + b"\xff"}[damage])
    engine = prefix.engine()
    assert [each["id"] for each in engine.request("in_force")["in_force"]] == ["fix"]
    assert outsider.counts(target.pid) == before
    assert engine.one("revert", id="fix")["verdict"] == "reverted"
    assert target.ask("call near_answer") == "10"
    assert file.stat().st_size == len(whole)


def test_two_engines_exclude_each_other(prefix: Prefix) -> None:
    first = prefix.engine()
    first.request("usage")
    assert prefix.engine().request("usage")["error"]["code"] == "agent_busy"
    assert first.request("in_force") == {"in_force": []}
