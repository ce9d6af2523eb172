# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the engine wait while a thread is where it must not be, and name it?"""

from __future__ import annotations

import json

import pytest
from engine_driver import Prefix
from engine_payloads import TargetModule, make_payload

METHODS = {"process": {"HOTPATCH_STOP_METHOD": "process"}, "threads": {"HOTPATCH_STOP_METHOD": "threads", "HOTPATCH_STRICT_PAGES": "1"}}
# What a thread does inside, the function that it is in, and what it returns when it was left alone and when the code was new.
INSIDE = [("wait", "wait_inside", "100"), ("loop", "loop_inside", "1000"), ("recurse", "recurse", "20")]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("how", "function", "old"), INSIDE)
def test_busy_while_a_thread_is_inside_and_names_it(
    prefix: Prefix, sample: TargetModule, method: str, how: str, function: str, old: str
) -> None:
    target, engine = prefix.target(), prefix.engine(**METHODS[method])
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"near_answer": "near", function: "near"}, quiescence="functions")
    target.ask(f"inside {how}")
    busy = engine.one("apply", payload=payload, wait_budget_ms=300)
    assert (busy["verdict"], busy["state"], busy["remedy"]) == ("target_busy", "not_applied", "apply")
    assert busy["attempts"] > 1
    assert busy["blocking"]["function"] == function
    assert busy["blocking"]["thread"] != 0
    assert any(line.startswith(f"{function}+0x") for line in busy["blocking"]["stack"])
    assert target.ask("call near_answer") == "10"
    assert target.ask("leave") == old
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
    assert target.ask("call near_answer") == "20"


@pytest.mark.parametrize("method", METHODS)
def test_entry_quiescence_lets_a_thread_finish_in_old_code(prefix: Prefix, sample: TargetModule, method: str) -> None:
    target, engine = prefix.target(), prefix.engine(**METHODS[method])
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"wait_inside": "near"})
    target.ask("inside wait")
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
    assert target.ask("leave") == "100"
    target.ask("inside wait")
    assert target.ask("leave") == "200"


def test_applied_while_it_waits_for_the_thread_to_leave(prefix: Prefix, sample: TargetModule) -> None:
    target = prefix.target()
    engine, hold = prefix.holding_engine("after stop")
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"wait_inside": "near"}, quiescence="functions")
    target.ask("inside wait")
    engine.write('{"op": "apply", "wait_budget_ms": 60000, "payload": ' + json.dumps(payload) + "}")
    hold.wait()
    assert target.ask("leave") == "100"
    hold.release()
    reply = json.loads(engine.read() or "{}")
    assert reply["processes"][0]["verdict"] == "applied"
    assert reply["processes"][0]["attempts"] > 1


@pytest.mark.parametrize("how", ["wait", "recurse"])
def test_revert_waits_while_a_thread_is_in_new_code(prefix: Prefix, sample: TargetModule, how: str) -> None:
    target, engine = prefix.target(), prefix.engine()
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"wait_inside": "near", "recurse": "near"}, quiescence="functions")
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
    target.ask(f"inside {how}")
    busy = engine.one("revert", id="fix", wait_budget_ms=300)
    assert (busy["verdict"], busy["state"]) == ("target_busy", "applied")
    assert target.ask("leave") in ("200", "40")
    assert engine.one("revert", id="fix")["verdict"] == "reverted"
    assert target.ask("recurse 3") == "3"


def test_new_code_in_use_is_kept_until_it_is_left(prefix: Prefix, sample: TargetModule) -> None:
    target, engine = prefix.target(), prefix.engine()
    executable = target.usage()["executable"]
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"wait_inside": "near"})
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
    target.ask("inside wait")
    assert engine.one("revert", id="fix")["verdict"] == "reverted"
    assert target.usage()["executable"] > executable
    assert engine.request("watch", payloads=[])["alerts"] == []
    assert target.usage()["executable"] > executable
    assert target.ask("leave") == "200"
    engine.request("watch", payloads=[])
    assert target.usage()["executable"] == executable


def test_new_code_that_is_a_registered_callback_is_kept(prefix: Prefix, sample: TargetModule) -> None:
    target, engine = prefix.target(), prefix.engine()
    executable = target.usage()["executable"]
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"keep_callback": "near"})
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
    assert target.ask("keep") == "8"
    assert engine.one("revert", id="fix")["verdict"] == "reverted"
    assert target.usage()["executable"] > executable
    assert target.ask("kept") == "8"
    assert target.ask("keep") == "7"
    engine.request("watch", payloads=[])
    assert target.usage()["executable"] == executable


def test_a_parked_fiber_in_old_code_is_seen(prefix: Prefix, sample: TargetModule) -> None:
    target, engine = prefix.target(), prefix.engine()
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"recurse": "near"}, quiescence="functions")
    target.ask("fiber")
    assert engine.one("apply", payload=payload, wait_budget_ms=300)["verdict"] == "target_busy"
    assert target.ask("unfiber") == "5"
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
