# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is every protection of a process seen, told, and respected?

Wine keeps none of these policies, so the engine's test program is told what Windows would answer; from the answer on everything is
what runs on Windows.
"""

from __future__ import annotations

import pytest
from engine_driver import Prefix
from engine_payloads import TargetModule, make_payload

# What Windows answers, the flags of the report, the verdict and the remedy.
FORBIDDING = [
    ("ppl", {"ppl": True}, "target_protected", "reboot"),
    ("wow64", {"bitness": 32}, "target_bitness", "restart_process"),
    ("acg", {"acg": True}, "target_acg", "restart_process"),
    ("cig", {"cig": True}, "target_cig", "restart_process"),
    ("cet,strict cet", {"cet": True}, "target_cet", "restart_process"),
    ("ppl,acg,cig,cfg,cet", {"ppl": True, "acg": True, "cig": True, "cfg": True, "cet": True}, "target_protected", "reboot"),
]
HARMLESS = [("", {}), ("cfg", {"cfg": True}), ("cet", {"cet": True}), ("cfg,cet", {"cfg": True, "cet": True})]
NONE = {"ppl": False, "acg": False, "cig": False, "cfg": False, "cet": False, "bitness": 64}
FUNCTIONS = {"short_answer": "short", "near_answer": "near"}


@pytest.mark.parametrize(("answer", "flags", "code", "remedy"), FORBIDDING)
def test_a_process_that_forbids_it_is_told_of_and_not_touched(
    prefix: Prefix, sample: TargetModule, answer: str, flags: dict[str, object], code: str, remedy: str
) -> None:
    target, engine = prefix.target(), prefix.engine(HOTPATCH_MITIGATIONS=answer)
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", FUNCTIONS)
    before = target.usage()
    engine.request("usage")
    journal = (prefix.folder / "journal.log").read_bytes()
    for op in ("preflight", "apply"):
        refused = engine.one(op, payload=payload)
        assert (refused["verdict"], refused["state"], refused["remedy"]) == (code, "not_applied", remedy)
        assert refused["mitigations"] == NONE | flags
        assert (refused["stop_us"], refused["attempts"]) == (0, 0)
    assert engine.request("watch", payloads=[payload])["alerts"][0]["code"] == "late_apply_failed"
    assert target.usage() == before
    assert (prefix.folder / "journal.log").read_bytes() == journal
    assert [target.ask(f"call {name}") for name in FUNCTIONS] == ["1", "10"]


@pytest.mark.parametrize(("answer", "flags"), HARMLESS)
def test_a_process_whose_protections_new_code_satisfies_is_patched_and_keeps_them(
    prefix: Prefix, sample: TargetModule, answer: str, flags: dict[str, object]
) -> None:
    target, engine = prefix.target(), prefix.engine(HOTPATCH_MITIGATIONS=answer, HOTPATCH_STRICT_PAGES="1")
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", FUNCTIONS)
    protections = [target.ask(f"protection {name}") for name in FUNCTIONS]
    done = engine.one("apply", payload=payload)
    assert (done["verdict"], done["mitigations"]) == ("applied", NONE | flags)
    assert [target.ask(f"call {name}") for name in FUNCTIONS] == ["2", "20"]
    assert target.usage()["writable_code"] == 0
    assert [target.ask(f"protection {name}") for name in FUNCTIONS] == protections
    assert engine.one("revert", id="fix")["verdict"] == "reverted"
    assert [target.ask(f"call {name}") for name in FUNCTIONS] == ["1", "10"]


def test_what_the_host_really_answers_is_what_counts(prefix: Prefix, sample: TargetModule) -> None:
    """Windows keeps the policy that a process sets for itself, and the engine must then refuse; Wine keeps none of it."""
    target, engine = prefix.target(), prefix.engine()
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", FUNCTIONS)
    kept = target.ask("forbid").endswith("forbidden")
    done = engine.one("apply", payload=payload)
    assert done["mitigations"]["acg"] is kept
    assert done["verdict"] == ("target_acg" if kept else "applied")
    assert target.ask("call near_answer") == ("10" if kept else "20")
