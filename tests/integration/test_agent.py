# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent comes, is upgraded, is used without being installed, and goes; asserted on the host itself."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lab.host import Host

from .controller import LAB_AGENT, Controller

pytestmark = pytest.mark.lab
HOME = r"C:\ProgramData\hotpatch.windows"
SERVICE = "hotpatch-agent"
ROLE = [{"name": "play", "hosts": "all", "gather_facts": False, "roles": ["hotpatch.windows.agent"]}]


def left_in_temp(host: Host) -> list[str]:
    return [path.name for path in host.drive_c.glob("users/*/Temp/hotpatch-*")] + [
        path.name for path in host.drive_c.glob("users/*/AppData/Local/Temp/hotpatch-*")
    ]


def test_the_role_installs_a_running_service_and_a_second_run_changes_nothing(host: Host, controller: Controller) -> None:
    foretold = controller.play(ROLE, [host], check=True).expect()
    assert foretold.count("changed") == 1
    assert not host.path(HOME).exists()
    first = controller.play(ROLE, [host]).expect()
    sha256 = hashlib.sha256(LAB_AGENT.read_bytes()).hexdigest()
    assert first.count("changed") == 1
    assert host.service_state(SERVICE) == "running"
    assert host.path(rf"{HOME}\agent\{sha256}\hotpatch-agent.exe").read_bytes() == LAB_AGENT.read_bytes()
    assert controller.play(ROLE, [host]).expect().count("changed") == 0
    assert controller.play(ROLE, [host], check=True).expect().count("changed") == 0
    assert left_in_temp(host) == []


def test_an_older_agent_is_replaced_and_serves_until_then(host: Host, controller: Controller, tmp_path: Path) -> None:
    older = tmp_path / "older.exe"
    older.write_bytes(LAB_AGENT.read_bytes() + b"another build")
    host.install_agent(older)
    assert controller.task("host_info", {"sections": ["agent"]}, host)["agent"]["mode"] == "resident"
    result = controller.task("agent", {}, host)
    assert result["changed"] is True
    assert hashlib.sha256(older.read_bytes()).hexdigest() in result["previous"]["path"]
    service = host.registry_get(r"HKLM\SYSTEM\CurrentControlSet\Services\hotpatch-agent", "ImagePath")
    assert hashlib.sha256(LAB_AGENT.read_bytes()).hexdigest() in str(service)
    assert host.service_state(SERVICE) == "running"


def test_removing_leaves_nothing_and_can_be_repeated(ready_host: Host, controller: Controller) -> None:
    foretold = controller.task("agent", {"state": "absent"}, ready_host, check=True)
    assert (foretold["changed"], ready_host.service_state(SERVICE)) == (True, "running")
    assert controller.task("agent", {"state": "absent"}, ready_host)["changed"] is True
    assert ready_host.registry_get(r"HKLM\SYSTEM\CurrentControlSet\Services\hotpatch-agent", "ImagePath") is None
    assert [str(path) for path in ready_host.path(HOME).glob("**/*.exe")] == []
    assert controller.task("agent", {"state": "absent"}, ready_host)["changed"] is False


def test_without_an_agent_reading_works_and_leaves_nothing(host: Host, controller: Controller) -> None:
    result = controller.task("host_info", {}, host)
    assert result["agent"]["mode"] == "transient"
    assert result["info"]["host"]["ubr"] == 32690
    assert result["info"]["host"]["computer_name"].lower() == host.name.lower()
    assert left_in_temp(host) == []


def test_without_an_agent_changing_is_refused_unless_transient_is_wanted(host: Host, controller: Controller) -> None:
    refused = controller.task("enrollment", {}, host)
    assert refused["error"]["code"] == "agent_missing"
    key = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management"
    assert host.registry_get(key, "HotPatchTableSize") is None
    done = controller.task("enrollment", {}, host, variables={"hotpatch_windows_agent_mode": "transient"})
    assert (done["changed"], done["agent"]["mode"]) == (True, "transient")
    assert host.registry_get(key, "HotPatchTableSize") == 0x1000
    assert left_in_temp(host) == []


def test_the_usual_task_is_one_round_trip_and_small(ready_host: Host, controller: Controller) -> None:
    before = ready_host.requests
    controller.task("host_info", {"sections": ["boot"]}, ready_host)
    after = ready_host.requests
    # Authentication, then: open the shell, start, send, receive, signal, close.
    assert after.messages - before.messages <= 12
    assert after.received_bytes + after.sent_bytes - before.received_bytes - before.sent_bytes < 40_000


def test_a_lab_build_is_refused_where_the_host_is_not_of_the_lab(ready_host: Host, controller: Controller) -> None:
    key = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management"
    result = controller.task("enrollment", {}, ready_host, variables={"hotpatch_windows_lab": False})
    assert result["error"]["code"] == "agent_lab_build"
    assert ready_host.registry_get(key, "HotPatchTableSize") is None
