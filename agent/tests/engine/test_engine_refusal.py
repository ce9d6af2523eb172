# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is everything that must be refused refused under its own code, and is the target then as it was?"""

from __future__ import annotations

import shutil

import pytest
from engine_driver import Prefix
from engine_payloads import TargetModule, make_payload


def test_someone_elses_jump_at_the_entry(prefix: Prefix, sample: TargetModule) -> None:
    target, engine = prefix.target(), prefix.engine()
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"short_answer": "short"})
    target.ask("poke near_answer")
    refused = engine.one("apply", payload=payload)
    assert (refused["verdict"], refused["remedy"]) == ("target_code_modified", "restart_process")
    assert f"{sample.addresses['near_answer']:x}" in refused["error"]["message"]
    assert target.ask("call short_answer") == "1"


def test_file_changed_on_disk_after_loading(prefix: Prefix, sample: TargetModule) -> None:
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"short_answer": "short"})
    target, engine = prefix.target(), prefix.engine()
    loaded = prefix.folder / "sample.dll"
    loaded.rename(prefix.folder / "sample.old")
    loaded.write_bytes((prefix.folder / "sample.old").read_bytes() + b"newer")
    assert engine.one("apply", payload=payload)["verdict"] == "target_file_changed"
    assert target.ask("call short_answer") == "1"


def test_another_build_of_the_same_name(prefix: Prefix, sample: TargetModule) -> None:
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"short_answer": "short"})
    payload["target"]["timestamp"] += 1
    target, engine = prefix.target(), prefix.engine()
    assert engine.one("apply", payload=payload)["verdict"] == "target_module_mismatch"
    assert target.ask("call short_answer") == "1"


def test_the_module_is_recognised_under_another_name_and_twice_in_one_process(prefix: Prefix, sample: TargetModule) -> None:
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"near_answer": "near"})
    shutil.copy(prefix.folder / "sample.dll", prefix.folder / "other.dll")
    target = prefix.target(prefix.windows_path("sample.dll"), prefix.windows_path("other.dll"))
    engine = prefix.engine()
    processes = engine.request("apply", payload=payload)["processes"]
    assert sorted(process["module"].rsplit("\\", 1)[1] for process in processes) == ["other.dll", "sample.dll"]
    assert [process["verdict"] for process in processes] == ["applied", "applied"]
    assert target.ask("call near_answer") == "20"
    assert [process["verdict"] for process in engine.request("revert", id="fix")["processes"]] == ["reverted", "reverted"]
    assert target.ask("call near_answer") == "10"


def test_a_process_that_has_ended_is_no_process(prefix: Prefix, sample: TargetModule) -> None:
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"near_answer": "near"})
    target, engine = prefix.target(), prefix.engine()
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
    target.end()
    assert engine.request("in_force") == {"in_force": []}
    assert engine.request("apply", payload=payload) == {"changed": False, "processes": []}


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_two_payloads_in_one_module_go_in_any_order(prefix: Prefix, sample: TargetModule, order: tuple[str, str]) -> None:
    target, engine = prefix.target(), prefix.engine()
    fix = prefix.folder / "fix_one.cpp.obj"
    one = make_payload(sample, fix, {"short_answer": "short"}, name="one")
    two = make_payload(sample, fix, {"near_answer": "near"}, name="two")
    assert engine.one("apply", payload=one)["verdict"] == "applied"
    both = engine.one("apply", payload=two)
    assert (both["verdict"], sorted(both["payloads"])) == ("applied", ["one", "two"])
    assert (target.ask("call short_answer"), target.ask("call near_answer")) == ("2", "20")
    expected = {"one": ("1", "20"), "two": ("2", "10")}
    assert engine.one("revert", id=order[0])["verdict"] == "reverted"
    assert (target.ask("call short_answer"), target.ask("call near_answer")) == expected[order[0]]
    assert engine.one("revert", id=order[1])["verdict"] == "reverted"
    assert (target.ask("call short_answer"), target.ask("call near_answer")) == ("1", "10")


def test_overlapping_payloads_are_refused_and_named_ones_replaced(prefix: Prefix, sample: TargetModule) -> None:
    target, engine = prefix.target(), prefix.engine()
    executable = target.usage()["executable"]
    first = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"short_answer": "short", "near_answer": "near"}, name="first")
    other = make_payload(sample, prefix.folder / "fix_two.cpp.obj", {"near_answer": "near"}, name="other")
    assert engine.one("apply", payload=first)["verdict"] == "applied"
    assert engine.one("apply", payload=other)["verdict"] == "payload_overlaps"
    naming = make_payload(sample, prefix.folder / "fix_two.cpp.obj", {"near_answer": "near"}, name="other", replaces=("first",))
    done = engine.one("apply", payload=naming)
    assert (done["verdict"], done["payloads"]) == ("applied", ["other"])
    assert (target.ask("call short_answer"), target.ask("call near_answer")) == ("1", "30")
    assert [each["id"] for each in engine.request("in_force")["in_force"]] == ["other"]
    assert engine.one("revert", id="other")["verdict"] == "reverted"
    assert (target.ask("call short_answer"), target.ask("call near_answer")) == ("1", "10")
    assert target.usage()["executable"] == executable


def test_a_newer_sequence_replaces_and_an_older_is_refused(prefix: Prefix, sample: TargetModule) -> None:
    target, engine = prefix.target(), prefix.engine()
    old = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"short_answer": "short"})
    new = make_payload(sample, prefix.folder / "fix_two.cpp.obj", {"short_answer": "short"}, sequence=2)
    assert engine.one("apply", payload=old)["verdict"] == "applied"
    assert engine.one("apply", payload=new)["verdict"] == "applied"
    assert target.ask("call short_answer") == "3"
    assert engine.one("apply", payload=old)["verdict"] == "payload_sequence_back"
    assert target.ask("call short_answer") == "3"


def test_watch_patches_new_processes_and_late_loads_and_tells_of_a_foreign_change(prefix: Prefix, sample: TargetModule) -> None:
    engine = prefix.engine()
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"near_answer": "near", "short_answer": "short"})
    assert engine.request("watch", payloads=[payload])["alerts"] == []
    target = prefix.target()
    assert engine.request("watch", payloads=[payload])["alerts"] == []
    assert target.ask("call near_answer") == "20"
    target.ask("unload")
    assert engine.request("watch", payloads=[payload])["alerts"] == []
    assert target.ask(f"load {prefix.windows_path('sample.dll')}") == "loaded"
    assert engine.request("watch", payloads=[payload])["alerts"] == []
    assert target.ask("call near_answer") == "20"
    target.ask("poke near_answer")
    assert [alert["code"] for alert in engine.request("watch", payloads=[payload])["alerts"]] == ["site_changed"]
