# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which agent answers, how many round trips that costs, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.carriers import Completed
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.session import AgentSession, Settings
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

from .fakes import SERVICE_PROGRAM, FakeHost, answers, own_program

LAB = {"lab": True}


def test_the_usual_case_is_one_round_trip(host: FakeHost, agent: Path) -> None:
    host.handlers = answers(host_info={"host": {}})
    assert AgentSession(host, Settings(agent, **LAB)).call("host_info") == {"host": {}}
    assert host.runs == [(own_program(agent), ("call",))]


def test_an_installed_agent_of_another_release_is_used_and_remembered(agent: Path) -> None:
    host = FakeHost(answers(host_info={}), {SERVICE_PROGRAM}, service_image=f'"{SERVICE_PROGRAM}" serve')
    session = AgentSession(host, Settings(agent, **LAB))
    session.call("host_info")
    session.call("host_info")
    assert [program for program, _ in host.runs] == [own_program(agent), SERVICE_PROGRAM, SERVICE_PROGRAM]
    assert host.uploaded == []


def test_reading_a_host_without_agent_sends_uses_and_removes_it(agent: Path) -> None:
    host = FakeHost(answers(host_info={"host": {}}), mode="transient")
    session = AgentSession(host, Settings(agent, **LAB))
    assert session.call("host_info") == {"host": {}}
    session.close()
    assert host.uploaded == [str(agent)]
    assert host.cleaned == 1


def test_changing_a_host_without_agent_is_refused_and_nothing_is_sent(agent: Path) -> None:
    host = FakeHost(answers(apply={}))
    with pytest.raises(HotpatchError) as caught:
        AgentSession(host, Settings(agent, **LAB)).call("apply", {"payload": "a" * 64})
    assert caught.value.code == "agent_missing"
    assert "transient" in caught.value.remedy
    assert host.uploaded == []
    assert host.calls == []


def test_a_program_sent_for_reading_is_not_used_for_changing(agent: Path) -> None:
    host = FakeHost(answers(host_info={}, apply={"changed": True}), mode="transient")
    session = AgentSession(host, Settings(agent, **LAB))
    session.call("host_info")
    with pytest.raises(HotpatchError) as caught:
        session.call("apply", {})
    assert caught.value.code == "agent_missing"
    assert host.changes() == []


@pytest.mark.parametrize(("transient", "dry_run"), [(True, False), (False, True)])
def test_transient_mode_and_dry_runs_need_no_installed_agent(agent: Path, transient: bool, dry_run: bool) -> None:
    host = FakeHost(answers(apply={"changed": True}))
    AgentSession(host, Settings(agent, transient=transient, **LAB)).call("apply", {}, dry_run=dry_run)
    assert host.operations() == ["apply"]


def test_without_any_program_the_controller_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(HotpatchError) as caught:
        AgentSession(FakeHost(), Settings(tmp_path / "absent.exe", **LAB)).call("host_info")
    assert caught.value.code == "agent_missing"
    assert "absent.exe" in caught.value.where


@pytest.mark.parametrize("image", [r"C:\Users\Public\evil.exe", rf"C:\ProgramData\hotpatch.windows\agent\{'b' * 64}\other.exe serve"])
def test_a_service_that_runs_something_else_is_not_taken_for_the_agent(agent: Path, image: str) -> None:
    host = FakeHost(answers(host_info={}), {image}, service_image=image)
    with pytest.raises(HotpatchError) as caught:
        AgentSession(host, Settings(agent, **LAB)).call("host_info")
    assert caught.value.code == "agent_unsafe_path"


def test_a_lab_build_on_a_production_host_is_refused_before_it_changes_anything(host: FakeHost, agent: Path) -> None:
    host.handlers = answers(apply={"changed": True})
    with pytest.raises(HotpatchError) as caught:
        AgentSession(host, Settings(agent)).call("apply", {})
    assert caught.value.code == "agent_lab_build"
    assert host.changes() == []


def test_a_release_build_is_asked_who_it_is_once(host: FakeHost, agent: Path) -> None:
    host.build, host.handlers = "release", answers(apply={"changed": True})
    session = AgentSession(host, Settings(agent))
    session.call("apply", {})
    session.call("apply", {})
    assert host.operations() == ["boot_id", "apply", "apply"]


def test_the_agents_error_arrives_with_code_words_and_details(host: FakeHost, agent: Path) -> None:
    host.handlers = answers(apply=HotpatchError("payload_key_unknown", "Key 12 is not trusted.", where="x.hpp", details={"kid": "12"}))
    with pytest.raises(HotpatchError) as caught:
        AgentSession(host, Settings(agent, **LAB)).call("apply", {})
    assert (caught.value.code, caught.value.message, caught.value.where) == ("payload_key_unknown", "Key 12 is not trusted.", "x.hpp")
    assert caught.value.details == {"kid": "12"}


def test_an_agent_of_another_protocol_version_is_refused_with_both_numbers(host: FakeHost, agent: Path) -> None:
    identity = {"version": "9.0.0", "build": "lab", "mode": "resident", "sha256": "a" * 64}
    host.raw = json.dumps({"protocol": 2, "agent": identity, "result": {}}).encode()
    with pytest.raises(HotpatchError) as caught:
        AgentSession(host, Settings(agent, **LAB)).call("host_info")
    assert caught.value.code == "protocol_version"
    assert caught.value.details == {"supported": 2, "requested": 1}


def test_an_agent_that_ends_without_reply_is_reported_with_its_words(agent: Path) -> None:
    class Crashing(FakeHost):
        def run(self, *_args: object, **_kwargs: object) -> Completed:
            return Completed(2, b"", "out of memory")

    with pytest.raises(HotpatchError) as caught:
        AgentSession(Crashing(), Settings(agent, **LAB)).call("host_info")
    assert caught.value.code == "agent_no_reply"
    assert caught.value.details == {"exit_code": 2, "stderr": "out of memory"}


def test_installing_uses_the_controllers_program_whatever_is_installed(agent: Path) -> None:
    host = FakeHost(answers(agent_install={"changed": True}), {SERVICE_PROGRAM}, service_image=SERVICE_PROGRAM)
    AgentSession(host, Settings(agent, **LAB)).call_own("agent_install", {"service": True})
    assert host.calls[0].program != SERVICE_PROGRAM
    assert host.uploaded == [str(agent)]


def test_a_file_is_streamed_into_the_store_where_the_carrier_can(host: FakeHost, agent: Path, tmp_path: Path) -> None:
    package = tmp_path / "package.msu"
    package.write_bytes(b"content")
    AgentSession(host, Settings(agent, **LAB)).put_object(package, "c" * 64)
    assert host.put == [("c" * 64, b"content")]


def test_a_file_is_copied_and_imported_where_it_cannot(host: FakeHost, agent: Path, tmp_path: Path) -> None:
    host.streams_files = False
    host.handlers = answers(store_import={"sha256": "c" * 64, "size": 7, "changed": True})
    package = tmp_path / "package.msu"
    package.write_bytes(b"content")
    AgentSession(host, Settings(agent, **LAB)).put_object(package, "c" * 64)
    assert host.calls[0].arguments == {"path": rf"C:\Temp\private\{'c' * 64}", "sha256": "c" * 64, "size": 7}
