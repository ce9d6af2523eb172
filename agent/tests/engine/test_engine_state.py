# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the state of every thread the same across the switch: its registers of every kind, its thread-local storage?"""

from __future__ import annotations

import time

import pytest
from engine_driver import Engine, Prefix, Target
from engine_payloads import TargetModule, make_payload

METHODS = {"process": {"HOTPATCH_STOP_METHOD": "process"}, "threads": {"HOTPATCH_STOP_METHOD": "threads", "HOTPATCH_STRICT_PAGES": "1"}}
LIMITS = {"stop_budget_us": 20_000_000, "wait_budget_ms": 60_000}
THREADS = 2


def switch_to_and_fro(engine: Engine, payload: dict[str, object], rounds: int) -> None:
    for _round in range(rounds):
        assert engine.one("apply", payload=payload, **LIMITS)["verdict"] == "applied"
        assert engine.one("revert", id="fix", **LIMITS)["verdict"] == "reverted"


def answers(target: Target) -> tuple[int, int]:
    old, new = target.ask("answers").split()
    return int(old), int(new)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_register_is_the_same_while_the_function_is_switched(prefix: Prefix, sample: TargetModule, method: str) -> None:
    """Random contents in general, vector (with their upper halves) and x87 registers, MXCSR and flags at every single call."""
    target, engine = prefix.target(), prefix.engine(**METHODS[method])
    payload = make_payload(sample, prefix.folder / "fix_asm.S.obj", {"register_probe": "near"})
    assert target.ask("registers 500") == "0"
    target.ask(f"random {THREADS}")
    switch_to_and_fro(engine, payload, 10)
    assert engine.one("apply", payload=payload, **LIMITS)["verdict"] == "applied"
    wait_for_more(target, 1)
    assert target.ask("registers 500") == "0"
    assert engine.one("revert", id="fix", **LIMITS)["verdict"] == "reverted"
    wait_for_more(target, 0)
    calls, bad = target.ask("stop").split()
    assert (int(calls), bad) == (sum(answers(target)), "0")


def wait_for_more(target: Target, kind: int) -> None:
    """Until the threads have met the old (0) or the new (1) code again."""
    before = answers(target)[kind]
    for _ in range(1000):
        if answers(target)[kind] > before + THREADS:
            return
        time.sleep(0.02)
    raise AssertionError("the threads do not go on")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_thread_local_storage_is_the_same_for_old_and_new_code(prefix: Prefix, sample: TargetModule, method: str) -> None:
    """The module's static thread-local storage and a slot of TlsAlloc's, both read by the old and by the new code."""
    target, engine = prefix.target(), prefix.engine(**METHODS[method])
    static = make_payload(sample, prefix.folder / "fix_asm.S.obj", {"tls_value_plus": "near"})
    slot = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"tls_slot_plus": "near"}, name="slot")
    assert [target.ask(f"call {name}") for name in ("tls_value_plus", "tls_slot_plus")] == ["1", "1"]
    target.ask(f"tls {THREADS}")
    switch_to_and_fro(engine, static, 4)
    assert engine.one("apply", payload=static, **LIMITS)["verdict"] == "applied"
    assert engine.one("apply", payload=slot, **LIMITS)["verdict"] == "applied"
    assert [target.ask(f"call {name}") for name in ("tls_value_plus", "tls_slot_plus")] == ["2", "2"]
    before = target.counts()[0]
    for _ in range(1000):
        if target.counts()[0] > before + THREADS:
            break
        time.sleep(0.02)
    for name in ("slot", "fix"):
        assert engine.one("revert", id=name, **LIMITS)["verdict"] == "reverted"
    assert [target.ask(f"call {name}") for name in ("tls_value_plus", "tls_slot_plus")] == ["1", "1"]
    calls, bad = target.ask("stop").split()
    assert int(calls) > before + THREADS
    assert bad == "0"
