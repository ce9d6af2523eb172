# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a stop that becomes too long end by itself, with the target running and nothing changed?"""

from __future__ import annotations

import time

import pytest
from engine_driver import Outsider, Prefix, Target
from engine_payloads import TargetModule, make_payload

METHODS = {"process": {"HOTPATCH_STOP_METHOD": "process"}, "threads": {"HOTPATCH_STOP_METHOD": "threads", "HOTPATCH_STRICT_PAGES": "1"}}
MOST_ATTEMPTS = 5
PATIENCE_S = 60.0


def runs(target: Target, outsider: Outsider) -> bool:
    """Whether nothing of the target is suspended, within a bounded time, and its threads make calls."""
    end = time.monotonic() + PATIENCE_S
    while any(outsider.counts(target.pid).values()):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    before, _bad = target.counts()
    while target.counts()[0] == before:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("method", METHODS)
def test_the_guard_ends_a_stop_that_the_engine_does_not_end(prefix: Prefix, sample: TargetModule, method: str) -> None:
    target, outsider = prefix.target(), prefix.outsider()
    engine, hold = prefix.holding_engine("gathered", **METHODS[method])
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"near_answer": "near"})
    target.ask("threads 4")
    engine.begin("apply", payload=payload, stop_budget_us=200_000, wait_budget_ms=60_000)
    hold.wait()
    assert runs(target, outsider)
    assert target.ask("call near_answer") == "10"
    hold.release()
    done = engine.end_of()
    assert (done["verdict"], done["error"]) == ("applied", None)
    assert done["attempts"] > 1
    assert target.ask("call near_answer") == "20"
    assert runs(target, outsider)
    assert target.ask("stop").split()[1] == "0"


@pytest.mark.parametrize("method", METHODS)
def test_a_budget_that_is_too_small_changes_nothing(prefix: Prefix, sample: TargetModule, method: str) -> None:
    target, engine, outsider = prefix.target(), prefix.engine(**METHODS[method]), prefix.outsider()
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"near_answer": "near"})
    executable, entry = target.usage()["executable"], target.ask(f"bytes {sample.addresses['near_answer']} 16")
    target.ask("threads 4")
    done = engine.one("apply", payload=payload, stop_budget_us=1, wait_budget_ms=60_000)
    assert (done["verdict"], done["error"]["code"], done["state"]) == ("target_stop_budget", "target_stop_budget", "not_applied")
    assert done["attempts"] == MOST_ATTEMPTS
    assert runs(target, outsider)
    assert target.ask(f"bytes {sample.addresses['near_answer']} 16") == entry
    assert engine.request("in_force") == {"in_force": []}
    target.ask("stop")
    assert target.usage()["executable"] == executable
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
    assert target.ask("call near_answer") == "20"
