# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the target go on without one wrong answer while it is patched under load?"""

from __future__ import annotations

import pytest
from engine_driver import Prefix, released
from engine_payloads import TargetModule, make_payload

ROUNDS = 1000
PATIENCE = 900.0
MOST_GROWTH = 1 << 20  # of the engine's memory and of its journal, which is written anew when it has grown by 256 KiB
METHODS = {"process": {"HOTPATCH_STOP_METHOD": "process"}, "threads": {"HOTPATCH_STOP_METHOD": "threads", "HOTPATCH_STRICT_PAGES": "1"}}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("threads", [1, 8, 64, 256])
def test_applied_and_reverted_while_threads_call_without_pause(prefix: Prefix, sample: TargetModule, method: str, threads: int) -> None:
    target, engine = prefix.target(), prefix.engine(**METHODS[method])
    executable = target.usage()["executable"]
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"short_answer": "short", "near_answer": "near"})
    # The engine, its guard and Wine's server get one share of the processors among as many as there are threads.
    target.patience = engine.patience = PATIENCE
    target.ask(f"threads {threads}")
    limits = {"stop_budget_us": 60_000_000, "wait_budget_ms": 600_000}
    done = engine.one("apply", payload=payload, **limits)
    assert (done["verdict"], done["error"]) == ("applied", None)
    assert done["threads"] > threads
    assert done["stop_us"] > 0
    assert (target.ask("call short_answer"), target.ask("call near_answer")) == ("2", "20")
    assert engine.one("revert", id="fix", **limits)["verdict"] == "reverted"
    assert (target.ask("call short_answer"), target.ask("call near_answer")) == ("1", "10")
    calls, bad = target.ask("stop").split()
    assert int(calls) > 0
    assert bad == "0"
    # Wine keeps what threads that have ended were stopped at, and so, perhaps, the region; that it is given back is tested without them.
    after = target.usage()
    assert after["executable"] <= executable + payload["region_size"]
    assert after["writable_code"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("quiescence", ["entry", "functions"])
@pytest.mark.parametrize("method", METHODS)
def test_applied_while_threads_are_made_and_end_in_a_storm(prefix: Prefix, sample: TargetModule, method: str, quiescence: str) -> None:
    target, engine = prefix.target(), prefix.engine(**METHODS[method])
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"near_answer": "near"}, quiescence=quiescence)
    target.ask("storm 4")
    limits = {"stop_budget_us": 5_000_000, "wait_budget_ms": 60_000}
    for _round in range(5):
        assert engine.one("apply", payload=payload, **limits)["verdict"] == "applied"
        assert target.ask("call near_answer") == "20"
        assert engine.one("revert", id="fix", **limits)["verdict"] == "reverted"
        assert target.ask("call near_answer") == "10"
    assert target.ask("stop").split()[1] == "0"


@pytest.mark.slow
def test_many_rounds_leave_nothing_behind(prefix: Prefix, sample: TargetModule) -> None:
    target, engine = prefix.target(), prefix.engine()
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"short_answer": "short", "near_answer": "near"})
    target.patience = engine.patience = PATIENCE
    target.ask("threads 2")
    engine.one("apply", payload=payload)
    engine.one("revert", id="fix")
    before, mine = target.usage(), engine.request("usage")
    assert min(before["handles"], before["threads"], mine["handles"], mine["threads"]) > 0
    for _round in range(ROUNDS):
        assert engine.one("apply", payload=payload, pids=[target.pid], wait_budget_ms=600_000)["verdict"] == "applied"
        assert engine.one("revert", id="fix", wait_budget_ms=600_000)["verdict"] == "reverted"
    assert released(engine, target, 0)
    after = target.usage()
    assert after["handles"] == before["handles"]
    assert after["threads"] == before["threads"]
    assert after["committed"] <= before["committed"] + 0x10000
    assert after["executable"] == after["writable_code"] == 0
    usage = engine.request("usage")
    assert usage["handles"] <= mine["handles"] + 1
    assert usage["threads"] == mine["threads"]
    assert usage["committed"] <= mine["committed"] + MOST_GROWTH
    assert (prefix.folder / "journal.log").stat().st_size < MOST_GROWTH
    assert target.ask("stop").split()[1] == "0"


@pytest.mark.parametrize("method", METHODS)
def test_registers_and_page_boundaries(prefix: Prefix, sample: TargetModule, method: str) -> None:
    target, engine = prefix.target(), prefix.engine(**METHODS[method])
    names = ("across_page", "register_probe", "same_page_one", "same_page_two")
    payload = make_payload(sample, prefix.folder / "fix_asm.S.obj", dict.fromkeys(names, "near"))
    assert sample.addresses["across_page"] % 4096 == 4094
    assert target.ask("registers 500") == "0"
    protections = [target.ask(f"protection {name}") for name in names]
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
    assert [target.ask(f"call {name}") for name in names] == ["6", "2", "21", "22"]
    assert [target.ask(f"protection {name}") for name in names] == protections
    assert target.ask("registers 500") == "0"
    assert engine.one("revert", id="fix")["verdict"] == "reverted"
    assert [target.ask(f"call {name}") for name in names] == ["5", "1", "11", "12"]
    assert [target.ask(f"protection {name}") for name in names] == protections
