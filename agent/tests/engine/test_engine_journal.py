# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the outcome exact when the disk takes no more of the journal, at whichever record that happens?

The file may not grow beyond a size that the test sets: every write beyond it fails, as on a full disk (on Wine under the code of any
failed write). The sizes at which a record ends in an undisturbed operation are found out first, and then each of them is the limit.
"""

from __future__ import annotations

import resource
import time

from engine_driver import JSON, Engine, Prefix, Target
from engine_payloads import TargetModule, make_payload

HEADER = 8
FRAME = 12
UNLIMITED = resource.RLIM_INFINITY
OLD, NEW = "10", "20"
FAILED_WRITE = {"store_disk_full", "agent_internal"}


def record_ends(prefix: Prefix) -> list[int]:
    """The sizes of the journal after each of its records."""
    data = (prefix.folder / "journal.log").read_bytes()
    ends, place = [], HEADER
    while place < len(data):
        assert data[place : place + 4] == b"HPJR"
        place += FRAME + int.from_bytes(data[place + 4 : place + 8], "little")
        ends.append(place)
    return ends


def limit_file_size(engine: Engine, size: int) -> None:
    resource.prlimit(engine.process.pid, resource.RLIMIT_FSIZE, (size, UNLIMITED))


def in_force(engine: Engine) -> list[str]:
    return [process["state"] for each in engine.request("in_force")["in_force"] for process in each["processes"]]


def agrees(engine: Engine, target: Target, answer: str) -> None:
    """Memory, behaviour and what the engine says are one."""
    assert target.ask("call near_answer") == answer
    assert in_force(engine) == (["applied"] if answer == NEW else [])


def fresh(prefix: Prefix) -> Engine:
    (prefix.folder / "journal.log").unlink(missing_ok=True)
    engine = prefix.engine()
    engine.request("usage")
    return engine


def applied(prefix: Prefix, payload: JSON) -> Engine:
    engine = fresh(prefix)
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
    return engine


def test_the_disk_is_full_at_any_record_of_an_apply(prefix: Prefix, sample: TargetModule) -> None:
    target = prefix.target()
    executable = target.usage()["executable"]
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"near_answer": "near"})
    applied(prefix, payload).end()
    ends = [HEADER, *record_ends(prefix)]
    undo(prefix, target)
    outcomes, told = [], []
    for end in ends:
        engine = fresh(prefix)
        limit_file_size(engine, end + 5)
        done = engine.one("apply", payload=payload)
        outcomes.append(done["verdict"])
        told.append(done["error"] is not None)
        assert done["verdict"] in {"applied"} | FAILED_WRITE, done
        answer = NEW if done["verdict"] == "applied" else OLD
        agrees(engine, target, answer)
        if answer == OLD:
            assert target.usage()["executable"] == executable
        else:
            assert done["error"] is None or done["error"]["code"] in FAILED_WRITE
            assert engine.one("apply", payload=payload)["verdict"] == "already_applied"
        engine.process.kill()  # nothing of what it only remembers is left
        engine.wait()
        engine = prefix.engine()
        agrees(engine, target, answer)
        engine.end()
        undo(prefix, target)
        assert target.usage()["executable"] == executable
    assert outcomes[0] in FAILED_WRITE
    assert outcomes[-2:] == ["applied", "applied"]
    assert told[-2:] == [True, False]  # the disk is full after the commit, and not at all


def undo(prefix: Prefix, target: Target) -> None:
    engine = prefix.engine()
    engine.request("revert", id="fix")
    agrees(engine, target, OLD)
    for _ in range(50):
        engine.request("watch", payloads=[])
        if not engine.request("in_force")["in_force"]:
            break
        time.sleep(0.05)
    engine.end()


def test_the_disk_is_full_at_any_record_of_a_revert(prefix: Prefix, sample: TargetModule) -> None:
    target = prefix.target()
    executable = target.usage()["executable"]
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"near_answer": "near"})
    engine = applied(prefix, payload)
    before = len(record_ends(prefix))
    assert engine.one("revert", id="fix")["verdict"] == "reverted"
    ends = record_ends(prefix)[before - 1 :]
    engine.end()
    outcomes = []
    for end in ends:
        engine = applied(prefix, payload)
        limit_file_size(engine, end + 5)
        done = engine.one("revert", id="fix")
        outcomes.append(done["verdict"])
        answer = OLD if done["verdict"] == "reverted" else NEW
        assert done["verdict"] in {"reverted"} | FAILED_WRITE, done
        agrees(engine, target, answer)
        if answer == OLD and done["error"] is not None:
            assert {alert["code"] for alert in engine.request("watch", payloads=[])["alerts"]} & FAILED_WRITE
        limit_file_size(engine, UNLIMITED)
        assert engine.request("watch", payloads=[])["alerts"] == []
        agrees(engine, target, answer)
        engine.process.kill()
        engine.wait()
        engine = prefix.engine()
        agrees(engine, target, answer)
        engine.end()
        undo(prefix, target)
        assert target.usage()["executable"] == executable
    assert outcomes[0] in FAILED_WRITE
    assert outcomes[-1] == "reverted"
