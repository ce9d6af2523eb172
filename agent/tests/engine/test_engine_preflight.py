# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the report before a change say everything that is needed to decide, and is all of it true?"""

from __future__ import annotations

import hashlib

from engine_driver import Prefix
from engine_payloads import TargetModule, make_payload

FUNCTIONS = {"short_answer": "short", "near_answer": "near"}


def test_the_report_is_complete_and_true_and_nothing_is_changed(prefix: Prefix, sample: TargetModule) -> None:
    target, engine = prefix.target(), prefix.engine()
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", FUNCTIONS)
    before = target.usage()
    found = engine.one("preflight", payload=payload)
    assert (found["verdict"], found["state"], found["remedy"], found["error"]) == ("would_apply", "not_applied", "apply", None)
    assert found["image"].endswith("engine-target.exe")
    assert found["module"].endswith("sample.dll")
    assert found["service"] is None
    assert found["pid"] == target.pid
    assert hex(found["base"]) == target.ask("base")
    assert found["file_sha256"] == hashlib.sha256(sample.file).hexdigest()
    assert found["code_matches"] is True
    assert found["threads"] == before["threads"]
    assert found["mitigations"] == {"ppl": False, "acg": False, "cig": False, "cfg": False, "cet": False, "bitness": 64}
    assert (found["payloads"], found["blocking"], found["stop_us"], found["attempts"]) == ([], None, 0, 0)
    short, near = sample.addresses["short_answer"], sample.addresses["near_answer"]
    places = sorted([(short - 5, 5, "short_answer"), (short, 2, "short_answer"), (near, 5, "near_answer")])
    assert sorted(found["sites"], key=lambda site: int(site["rva"])) == [
        {"function": name, "rva": rva, "before": target.ask(f"bytes {rva} {length}"), "after": ""} for rva, length, name in places
    ]
    assert target.usage() == before


def test_it_tells_of_payloads_in_force_beside(prefix: Prefix, sample: TargetModule) -> None:
    prefix.target()
    engine = prefix.engine()
    fix = prefix.folder / "fix_one.cpp.obj"
    one = make_payload(sample, fix, {"short_answer": "short"}, name="one")
    assert engine.one("apply", payload=one)["verdict"] == "applied"
    found = engine.one("preflight", payload=make_payload(sample, fix, {"near_answer": "near"}, name="two"))
    assert (found["verdict"], found["payloads"], found["code_matches"]) == ("would_apply", ["one"], True)
    again = engine.one("preflight", payload=one)
    assert (again["verdict"], again["state"], again["remedy"]) == ("already_applied", "applied", "none")


def test_it_tells_of_changed_code_and_of_a_changed_file(prefix: Prefix, sample: TargetModule) -> None:
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"near_answer": "near"})
    target, engine = prefix.target(), prefix.engine()
    target.ask("poke recurse")
    found = engine.one("preflight", payload=payload)
    assert (found["verdict"], found["code_matches"], found["sites"]) == ("target_code_modified", False, [])
    loaded = prefix.folder / "sample.dll"
    loaded.rename(prefix.folder / "sample.old")
    loaded.write_bytes(sample.file + b"newer")
    found = engine.one("preflight", payload=payload)
    assert (found["verdict"], found["code_matches"]) == ("target_file_changed", None)
    assert found["file_sha256"] == hashlib.sha256(sample.file + b"newer").hexdigest()
