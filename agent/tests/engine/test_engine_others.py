# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the engine do the right thing when others do something to the target: end it, suspend it, debug it, close it, fill it, load anew?"""

from __future__ import annotations

import shutil
import typing as t

import pytest
from engine_driver import JSON, Outsider, Prefix, released
from engine_payloads import TargetModule, make_payload

METHODS = {"process": {"HOTPATCH_STOP_METHOD": "process"}, "threads": {"HOTPATCH_STOP_METHOD": "threads", "HOTPATCH_STRICT_PAGES": "1"}}
GUARD_HANDLES = 2  # its process and the memory shared with it
THREAD_PAGE = 4096  # the code of the thread that an engine which died has left; it is in nobody's way
LONG = {"stop_budget_us": 60_000_000}  # the test does something in the middle of the stop


def near_fix(prefix: Prefix, sample: TargetModule, **arguments: t.Any) -> JSON:
    return make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"near_answer": "near"}, **arguments)


def nothing_is_left(prefix: Prefix) -> None:
    """The next start has nothing to do, and says that nothing is in force."""
    engine = prefix.engine()
    assert engine.request("in_force") == {"in_force": []}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", ["allocated", "before stop", "gathered", "committing", "resuming"])
def test_a_target_that_is_killed_in_the_middle_is_said_to_have_ended(prefix: Prefix, sample: TargetModule, method: str, place: str) -> None:
    target, other = prefix.target(), prefix.target()
    engine, hold = prefix.holding_engine(place, **METHODS[method])
    handles = engine.request("usage")["handles"]
    engine.begin("apply", payload=near_fix(prefix, sample), pids=[target.pid], **LONG)
    hold.wait()
    target.process.kill()
    target.wait()
    hold.release()
    ended = engine.end_of()
    assert (ended["verdict"], ended["state"], ended["remedy"]) == ("target_exited", "not_applied", "apply")
    assert engine.request("in_force") == {"in_force": []}
    assert engine.request("usage")["handles"] <= handles + GUARD_HANDLES
    assert other.ask("call near_answer") == "10"
    assert engine.one("apply", payload=near_fix(prefix, sample))["verdict"] == "applied"
    assert other.ask("call near_answer") == "20"
    assert engine.one("revert", id="fix")["verdict"] == "reverted"
    engine.end()
    nothing_is_left(prefix)


@pytest.mark.parametrize("method", METHODS)
def test_a_target_that_is_killed_while_it_is_reverted(prefix: Prefix, sample: TargetModule, method: str) -> None:
    target = prefix.target()
    first = prefix.engine()
    assert first.one("apply", payload=near_fix(prefix, sample))["verdict"] == "applied"
    first.end()
    engine, hold = prefix.holding_engine("gathered", **METHODS[method])
    engine.begin("revert", id="fix", **LONG)
    hold.wait()
    target.process.kill()
    target.wait()
    hold.release()
    assert engine.end_of()["verdict"] == "target_exited"
    assert engine.request("in_force") == {"in_force": []}


@pytest.mark.parametrize("method", METHODS)
def test_one_thread_that_someone_suspended_stays_suspended(prefix: Prefix, sample: TargetModule, method: str) -> None:
    target, engine, outsider = prefix.target(), prefix.engine(**METHODS[method]), prefix.outsider()
    others = set(outsider.counts(target.pid))
    target.ask("threads 3")
    worker = min(set(outsider.counts(target.pid)) - others)
    assert outsider.ask(f"suspend-thread {worker}") == "0"
    assert outsider.ask(f"suspend-thread {worker}") == "1"
    before = outsider.counts(target.pid)
    assert before[worker] == 2
    assert engine.one("apply", payload=near_fix(prefix, sample), wait_budget_ms=60_000)["verdict"] == "applied"
    assert outsider.counts(target.pid) == before
    assert target.ask("call near_answer") == "20"
    assert engine.one("revert", id="fix", wait_budget_ms=60_000)["verdict"] == "reverted"
    assert outsider.counts(target.pid) == before
    assert outsider.ask(f"resume-thread {worker}") == "2"
    assert outsider.ask(f"resume-thread {worker}") == "1"
    assert target.ask("stop").split()[1] == "0"


@pytest.mark.parametrize("method", METHODS)
def test_a_thread_that_someone_suspended_in_the_patched_function_is_busy_and_stays_there(
    prefix: Prefix, sample: TargetModule, method: str
) -> None:
    target, engine, outsider = prefix.target(), prefix.engine(**METHODS[method]), prefix.outsider()
    others = set(outsider.counts(target.pid))
    target.ask("inside loop")
    (worker,) = set(outsider.counts(target.pid)) - others
    outsider.ask(f"suspend-thread {worker}")
    payload = make_payload(sample, prefix.folder / "fix_one.cpp.obj", {"loop_inside": "near"}, quiescence="functions")
    busy = engine.one("apply", payload=payload, wait_budget_ms=300)
    assert (busy["verdict"], busy["blocking"]["thread"]) == ("target_busy", worker)
    assert outsider.counts(target.pid)[worker] == 1
    outsider.ask(f"resume-thread {worker}")
    assert target.ask("leave") == "1000"


def each_thread(outsider: Outsider, counts: dict[int, int], verb: str) -> None:
    for thread in counts:
        outsider.ask(f"{verb} {thread}")


def test_a_process_whose_threads_are_all_suspended_is_refused_and_left_so(prefix: Prefix, sample: TargetModule) -> None:
    target, engine, outsider = prefix.target(), prefix.engine(), prefix.outsider()
    each_thread(outsider, outsider.counts(target.pid), "suspend-thread")
    before = outsider.counts(target.pid)
    assert set(before.values()) == {1}
    refused = engine.one("apply", payload=near_fix(prefix, sample))
    assert (refused["verdict"], refused["state"], refused["attempts"]) == ("target_suspended", "not_applied", 0)
    assert outsider.counts(target.pid) == before
    each_thread(outsider, before, "resume-thread")
    assert target.ask("call near_answer") == "10"
    assert engine.one("apply", payload=near_fix(prefix, sample))["verdict"] == "applied"
    assert target.ask("call near_answer") == "20"


@pytest.mark.parametrize("method", METHODS)
def test_a_process_that_is_suspended_as_a_whole_is_never_resumed(prefix: Prefix, sample: TargetModule, method: str) -> None:
    target, engine, outsider = prefix.target(), prefix.engine(**METHODS[method]), prefix.outsider()
    target.ask("threads 2")
    assert outsider.ask(f"suspend {target.pid}") == "0"
    verdict = engine.one("apply", payload=near_fix(prefix, sample), wait_budget_ms=300)["verdict"]
    # On Wine a process' suspension is counted apart from its threads', where nobody can see it; there the patch goes in beneath it.
    assert verdict in {"target_suspended", "applied"}
    target.write("count")
    with pytest.raises(AssertionError, match="no answer"):
        target.read(0.5)
    assert outsider.ask(f"resume {target.pid}") == "0"
    assert target.read() is not None
    assert target.ask("call near_answer") == ("20" if verdict == "applied" else "10")
    assert target.ask("stop").split()[1] == "0"


def test_a_debugged_process_is_refused_and_the_debugger_keeps_it(prefix: Prefix, sample: TargetModule) -> None:
    target, engine, debugger = prefix.target(), prefix.engine(), prefix.outsider()
    before = target.usage()["executable"]
    assert debugger.ask(f"attach {target.pid}") == "attached"
    for op in ("preflight", "apply"):
        refused = engine.one(op, payload=near_fix(prefix, sample))
        assert (refused["verdict"], refused["state"], refused["remedy"]) == ("target_debugged", "not_applied", "restart_process")
    assert target.ask("call near_answer") == "10"
    assert target.usage()["executable"] == before
    assert debugger.ask("detach") == "detached"
    assert engine.one("apply", payload=near_fix(prefix, sample))["verdict"] == "applied"
    assert target.ask("call near_answer") == "20"


def test_no_free_memory_near_the_module(prefix: Prefix, sample: TargetModule) -> None:
    target, engine = prefix.target(), prefix.engine()
    payload = near_fix(prefix, sample)
    target.usage()
    assert int(target.ask("reserve")) > 0
    before = target.usage()
    refused = engine.one("apply", payload=payload)
    assert (refused["verdict"], refused["state"]) == ("target_no_memory_near", "not_applied")
    assert target.ask("call near_answer") == "10"
    after = target.usage()
    assert (after["executable"], after["committed"]) == (before["executable"], before["committed"])
    assert int(target.ask("free")) > 0
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
    assert target.ask("call near_answer") == "20"
    assert engine.one("revert", id="fix")["verdict"] == "reverted"
    assert target.ask("call near_answer") == "10"


@pytest.mark.parametrize("same_round", [False, True])
def test_a_module_that_is_loaded_anew_is_not_patched_and_patched_again_by_the_watch(
    prefix: Prefix, sample: TargetModule, same_round: bool
) -> None:
    target, engine = prefix.target(), prefix.engine()
    executable = target.usage()["executable"]
    payload = near_fix(prefix, sample)
    assert engine.request("watch", payloads=[payload])["alerts"] == []
    for _time in range(3):
        assert target.ask("call near_answer") == "20"
        target.ask("unload")
        if not same_round:
            assert engine.request("in_force") == {"in_force": []}
        assert target.ask(f"load {prefix.windows_path('sample.dll')}") == "loaded"
        assert target.ask("call near_answer") == "10"
        codes = {alert["code"] for alert in engine.request("watch", payloads=[payload])["alerts"]}
        assert codes <= {"journal_disagrees"}
        in_force = engine.request("in_force")["in_force"]
        assert [process["state"] for each in in_force for process in each["processes"]] == ["applied"]
    assert target.ask("call near_answer") == "20"
    assert engine.one("revert", id="fix")["verdict"] == "reverted"
    assert target.ask("call near_answer") == "10"
    assert released(engine, target, executable)


def test_a_module_that_was_loaded_anew_can_be_applied_and_reverted(prefix: Prefix, sample: TargetModule) -> None:
    target, engine = prefix.target(), prefix.engine()
    payload = near_fix(prefix, sample)
    for _time in range(2):
        assert engine.one("apply", payload=payload)["verdict"] == "applied"
        target.ask("unload")
        assert target.ask(f"load {prefix.windows_path('sample.dll')}") == "loaded"
        assert (found := engine.one("preflight", payload=payload))["verdict"] == "would_apply", found
        assert target.ask("call near_answer") == "10"
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
    assert target.ask("call near_answer") == "20"
    target.ask("unload")
    assert target.ask(f"load {prefix.windows_path('sample.dll')}") == "loaded"
    reverted = engine.request("revert", id="fix")["processes"]
    assert [process["verdict"] for process in reverted] in ([], ["already_reverted"])
    assert target.ask("call near_answer") == "10"


def test_a_process_that_cannot_be_looked_into_is_named(prefix: Prefix, sample: TargetModule) -> None:
    target, closed, engine = prefix.target(), prefix.target(), prefix.engine()
    assert closed.ask("deny") == "denied"
    payload = near_fix(prefix, sample)
    for op in ("preflight", "apply"):
        found = {process["pid"]: process for process in engine.request(op, payload=payload)["processes"]}
        assert set(found) == {target.pid, closed.pid}
        line = found[closed.pid]
        assert (line["verdict"], line["state"], line["remedy"]) == ("target_access_denied", "unknown", "restart_process")
        assert line["image"].endswith("engine-target.exe")
        assert "sample.dll" in line["error"]["message"]
    assert (target.ask("call near_answer"), closed.ask("call near_answer")) == ("20", "10")
    assert engine.request("watch", payloads=[payload])["alerts"] == []
    assert engine.one("apply", payload=payload, pids=[closed.pid])["verdict"] == "target_access_denied"


def test_a_process_that_cannot_run_the_module_is_not_named(prefix: Prefix, sample: TargetModule) -> None:
    closed = prefix.target()
    assert closed.ask("deny") == "denied"
    program = near_fix(prefix, sample)
    program["target"]["name"] = "orders.exe"
    engine = prefix.engine()
    assert engine.request("preflight", payload=program)["processes"] == []
    program["target"]["name"] = "Engine-Target.exe"
    assert engine.one("preflight", payload=program)["verdict"] == "target_access_denied"
    engine.end()
    library = near_fix(prefix, sample)
    library["target"]["name"] = "elsewhere.dll"
    protected = prefix.engine(HOTPATCH_MITIGATIONS="ppl")
    assert protected.request("preflight", payload=library)["processes"] == []
    shutil.copy(prefix.folder / "sample.dll", prefix.folder / "elsewhere.dll")
    line = protected.one("preflight", payload=library)
    assert (line["verdict"], line["remedy"], line["mitigations"]["ppl"]) == ("target_protected", "reboot", True)


def test_new_code_whose_registration_hangs_is_kept_until_it_is_over(prefix: Prefix, sample: TargetModule) -> None:
    target, outsider = prefix.target(), prefix.outsider()
    executable = target.usage()["executable"]
    payload = near_fix(prefix, sample)
    engine, hold = prefix.holding_engine("calling", HOTPATCH_THREAD_HANGS="1")
    threads = set(outsider.counts(target.pid))
    engine.begin("apply", payload=payload)
    hold.wait()
    engine.process.kill()
    engine.wait()
    hold.release()
    (hanging,) = set(outsider.counts(target.pid)) - threads
    engine = prefix.engine()
    for _round in range(3):
        assert engine.request("watch", payloads=[])["alerts"] == []
        assert engine.request("in_force") == {"in_force": []}
        assert target.usage()["executable"] > executable + THREAD_PAGE
    assert outsider.ask(f"resume-thread {hanging}") == "1"
    assert released(engine, target, executable + THREAD_PAGE)
    assert (target.ask("call near_answer"), target.ask("catch 9")) == ("10", "10")
    assert engine.one("apply", payload=payload)["verdict"] == "applied"
    assert target.ask("call near_answer") == "20"
