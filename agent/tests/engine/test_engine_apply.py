# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a payload come into force and out of force again, as the target itself sees it?"""

from __future__ import annotations

from engine_driver import Prefix
from engine_payloads import TargetModule, make_payload

FUNCTIONS = {"short_answer": "short", "near_answer": "near", "recurse": "near", "catcher": "near", "passer": "near"}


def test_apply_changes_behaviour_and_revert_brings_it_back(prefix: Prefix, sample: TargetModule) -> None:
    target, engine = prefix.target(), prefix.engine()
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", FUNCTIONS, quiescence="functions")
    before = target.usage()
    assert (target.ask("call short_answer"), target.ask("call near_answer"), target.ask("recurse 4")) == ("1", "10", "4")
    found = engine.one("preflight", payload=payload)
    assert (found["verdict"], found["state"], found["remedy"]) == ("would_apply", "not_applied", "apply")
    assert target.ask("call short_answer") == "1"
    done = engine.one("apply", payload=payload)
    assert (done["verdict"], done["state"], done["error"]) == ("applied", "applied", None)
    assert (target.ask("call short_answer"), target.ask("call near_answer"), target.ask("recurse 4")) == ("2", "20", "8")
    assert engine.one("apply", payload=payload)["verdict"] == "already_applied"
    assert target.usage()["writable_code"] == 0
    undone = engine.one("revert", id="fix")
    assert (undone["verdict"], undone["state"]) == ("reverted", "not_applied")
    assert (target.ask("call short_answer"), target.ask("call near_answer"), target.ask("recurse 4")) == ("1", "10", "4")
    assert target.usage()["executable"] == before["executable"]
    assert engine.request("in_force") == {"in_force": []}


def test_exceptions_pass_through_new_code_in_both_directions(prefix: Prefix, sample: TargetModule) -> None:
    target, engine = prefix.target(), prefix.engine()
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", FUNCTIONS)
    assert (target.ask("catch 9"), target.ask("pass")) == ("10", "caught seven")
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
    assert (target.ask("catch 9"), target.ask("pass")) == ("11", "caught seven")


def test_a_short_entry_is_exchanged_without_a_stop(prefix: Prefix, sample: TargetModule) -> None:
    target, engine = prefix.target(), prefix.engine()
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"short_answer": "short"})
    done = engine.one("apply", payload=payload)
    assert (done["verdict"], done["stop_us"]) == ("applied", 0)
    assert target.ask("call short_answer") == "2"
