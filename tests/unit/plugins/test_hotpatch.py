# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply and revert: what is asked of the host, and what a failure leaves."""

from __future__ import annotations

import hashlib
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hotpatch.windows.plugins.action.hotpatch import ActionModule
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.carriers import Completed
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

from .fakes import FakeHost, Json, answers, run_action

PAYLOAD = b"payload"
SHA = hashlib.sha256(PAYLOAD).hexdigest()


def process(verdict: str, pid: int = 7, state: str = "applied") -> Json:
    return {"pid": pid, "image": r"C:\orders.exe", "verdict": verdict, "state": state, "message": f"{verdict} it is.", "remedy": "none"}


def report(*verdicts: str, changed: bool = True) -> Json:
    processes = [process(verdict, pid) for pid, verdict in enumerate(verdicts, 7)]
    return {"payload": {"id": "orders", "sequence": 1, "sha256": SHA}, "changed": changed, "processes": processes, "summary": {}}


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    path = tmp_path / "orders.hpp1"
    path.write_bytes(PAYLOAD)
    return path


def store(host: FakeHost, *objects: str) -> None:
    """Let the host have these objects, and keep what it is sent."""

    def query(arguments: Json, _dry: bool) -> Json:
        there = {*objects, *(sha256 for sha256, _ in host.put)}
        return {"present": {sha256: 7 for sha256 in arguments["objects"] if sha256 in there}, "free_bytes": 1}

    host.handlers["store_query"] = query


def test_a_payload_is_sent_once_and_applied(host: FakeHost, agent: Path, payload: Path) -> None:
    host.handlers = answers(apply=report("applied"))
    store(host)
    result = run_action(ActionModule, host, {"src": str(payload)}, agent=agent)
    assert result["changed"] is True
    assert host.put == [(SHA, PAYLOAD)]
    assert host.operations() == ["store_query", "apply"]
    assert host.calls[-1].arguments == {"payload": SHA, "persist": True, "stop_budget_us": 50000, "wait_budget_ms": 10000}


def test_a_staged_payload_is_not_sent_again(host: FakeHost, agent: Path, payload: Path) -> None:
    host.handlers = answers(apply=report("already_applied", changed=False))
    store(host, SHA)
    result = run_action(ActionModule, host, {"src": str(payload)}, agent=agent)
    assert result["changed"] is False
    assert host.put == []


def test_check_mode_leaves_the_store_as_it_was(host: FakeHost, agent: Path, payload: Path) -> None:
    host.handlers = answers(apply=report("would_apply"), store_remove={"removed": [SHA], "changed": True})
    store(host)
    result = run_action(ActionModule, host, {"src": str(payload)}, agent=agent, check=True, diff=True)
    assert result["changed"] is True
    assert [call.operation for call in host.calls if call.operation in ("apply", "store_remove")] == ["apply", "store_remove"]
    assert host.calls[-2].dry_run is True
    assert result["diff"] == {"before": {r"C:\orders.exe (7)": "not_applied"}, "after": {r"C:\orders.exe (7)": "applied"}}


def test_a_damaged_file_is_refused_before_the_host_is_asked(host: FakeHost, agent: Path, payload: Path) -> None:
    result = run_action(ActionModule, host, {"src": str(payload), "sha256": "0" * 64}, agent=agent)
    assert (result["failed"], result["error"]["code"]) == (True, "store_hash_mismatch")
    assert host.runs == []


@pytest.mark.parametrize(
    ("verdicts", "fail_on", "code"),
    [
        (("applied", "target_acg"), None, "target_acg"),
        (("applied", "target_acg"), ["busy"], None),
        (("target_acg", "target_busy"), None, "target_busy"),
        (("applied", "target_inconsistent"), [], "target_inconsistent"),
        (("applied", "already_applied"), None, None),
    ],
)
def test_the_worst_process_decides(
    host: FakeHost, agent: Path, payload: Path, verdicts: tuple[str, ...], fail_on: list[str] | None, code: str | None
) -> None:
    host.handlers = answers(apply=report(*verdicts))
    store(host, SHA)
    arguments: Json = {"src": str(payload)} | ({} if fail_on is None else {"fail_on": fail_on})
    result = run_action(ActionModule, host, arguments, agent=agent)
    assert result.get("error", {}).get("code") == code
    assert len(result["processes"]) == len(verdicts)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({}, "argument_invalid"),
        ({"state": "reverted"}, "argument_invalid"),
        ({"state": "reverted", "payload_id": "a", "src": "b"}, "argument_conflict"),
        ({"sha256": "xyz"}, "argument_invalid"),
        ({"src": "/nowhere/x"}, "argument_invalid"),
        ({"sha256": SHA, "probe": {}}, "argument_invalid"),
        ({"sha256": SHA, "probe": {"url": "http://a", "command": "b"}}, "argument_conflict"),
        ({"sha256": SHA, "stop_budget": "soon"}, "argument_invalid"),
    ],
)
def test_bad_arguments_change_nothing(host: FakeHost, agent: Path, arguments: Json, code: str) -> None:
    result = run_action(ActionModule, host, arguments, agent=agent)
    assert (result["failed"], result["error"]["code"]) == (True, code)
    assert host.changes() == []


class Service:
    """A probe command that gives these answers one after the other."""

    def __init__(self, *works: bool) -> None:
        self.answers = list(works)

    def __call__(self, _command: str) -> Completed:
        return Completed(0 if self.answers.pop(0) else 1, b"ok", "")


def probed(host: FakeHost, service: Service) -> Json:
    t.cast(t.Any, host).shell = service
    return {"sha256": SHA, "probe": {"command": "probe.exe", "retries": 0}}


def test_a_service_that_does_not_work_before_is_left_alone(host: FakeHost, agent: Path) -> None:
    result = run_action(ActionModule, host, probed(host, Service(False)), agent=agent)
    assert result["error"]["code"] == "probe_failed_before"
    assert host.calls == []


def test_a_service_that_does_not_work_after_gets_its_old_code_back(host: FakeHost, agent: Path) -> None:
    host.handlers = answers(apply=report("applied"), revert=report("reverted"))
    store(host, SHA)
    result = run_action(ActionModule, host, probed(host, Service(True, False, True)), agent=agent)
    assert result["error"]["code"] == "probe_failed_after"
    assert result["changed"] is False
    assert host.calls[-1].operation == "revert"
    assert host.calls[-1].arguments["payload_id"] == "orders"
    assert result["apply"]["processes"][0]["verdict"] == "applied"
    assert result["revert"]["processes"][0]["verdict"] == "reverted"
    assert result["probe"]["before"]["works"] is True
    assert result["probe"]["after"]["works"] is False
    assert result["probe"]["reverted"]["works"] is True


def test_a_failed_revert_is_said_and_counts_as_a_change(host: FakeHost, agent: Path) -> None:
    host.handlers = answers(apply=report("applied"), revert=HotpatchError("agent_busy"))
    store(host, SHA)
    result = run_action(ActionModule, host, probed(host, Service(True, False)), agent=agent)
    assert result["changed"] is True
    assert result["error"]["details"]["revert"]["code"] == "agent_busy"
    assert "still in force" in result["error"]["remedy"]


def test_a_service_that_works_is_asked_before_and_after(host: FakeHost, agent: Path) -> None:
    host.handlers = answers(apply=report("applied"))
    store(host, SHA)
    result = run_action(ActionModule, host, probed(host, Service(True, True)), agent=agent)
    assert "failed" not in result
    assert result["probe"]["after"]["works"] is True
