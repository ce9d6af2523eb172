# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An update package is installed by a job that outlives connection and service, tells how it ended, and never runs twice."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from agent_driver import SERVICE, Agent, Json, sha256

from lab import msu

KB, UBR = "KB5094126", 32995
LEVEL = (r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion", "UBR")
FILE = r"C:\lab\from-the-package.txt"


def staged(agent: Agent, package: Path) -> Json:
    """The arguments that install this package, once it is in the store."""
    data = package.read_bytes()
    agent.put(data).result()
    return {"sha256": sha256(data), "kb": KB}


def leftovers(agent: Agent) -> list[str]:
    return [path.name for path in agent.file("jobs").iterdir() if path.suffix != ".json"]


def test_a_package_is_really_installed_and_its_level_is_reached_with_the_reboot(resident: Agent, tmp_path: Path) -> None:
    arguments = staged(resident, msu.build(tmp_path / "kb.msu", kb=KB, ubr=UBR, files={FILE: b"new"}))
    assert resident.call("package_install", arguments, dry_run=True).result() == {"job": None, "changed": True}
    started = resident.call("package_install", arguments).result()
    assert started["changed"] is True
    status = resident.wait_for_job(started["job"])
    assert (status["state"], status["phase"], status["percent"], status["error"]) == ("succeeded", "finish", 100, None)
    assert status["exit_code"] in (0, 3010)
    assert status["reboot_required"] is True
    assert (status["kind"], status["kb"], status["sha256"]) == ("package_install", KB, arguments["sha256"])
    assert leftovers(resident) == []
    # Installed and waiting for the reboot: asked again, it is the same job.
    assert resident.call("package_install", arguments).result() == {"job": started["job"], "changed": False}
    assert resident.host.registry_get(*LEVEL) != UBR
    resident.host.reboot()
    assert resident.host.registry_get(*LEVEL) == UBR
    assert resident.host.path(FILE).read_bytes() == b"new"
    assert resident.call("host_info", {"sections": ["pending_reboot"]}).result()["pending_reboot"]["required"] is False
    assert resident.call("job_status", {"job": started["job"]}).result()["state"] == "succeeded"


def test_a_package_that_needs_no_reboot_says_so(resident: Agent, tmp_path: Path) -> None:
    arguments = staged(resident, msu.build(tmp_path / "kb.msu", kb=KB, ubr=UBR, reboot=False))
    status = resident.wait_for_job(resident.call("package_install", arguments).result()["job"])
    assert (status["state"], status["reboot_required"]) == ("succeeded", False)
    assert resident.host.registry_get(*LEVEL) == UBR


@pytest.mark.parametrize("damage", [msu.Damage.TRUNCATED, msu.Damage.BIT_FLIPPED, msu.Damage.NO_CABINET])
def test_a_damaged_package_is_recognised_before_the_installer_sees_it(resident: Agent, tmp_path: Path, damage: msu.Damage) -> None:
    arguments = staged(resident, msu.build_damaged(tmp_path / "kb.msu", damage, kb=KB, ubr=UBR))
    status = resident.wait_for_job(resident.call("package_install", arguments).result()["job"])
    assert (status["state"], status["phase"], status["error"]["code"]) == ("failed", "verify", "package_damaged")
    assert status["exit_code"] is None
    assert status["error"]["remedy"]
    assert resident.host.registry_get(*LEVEL) != UBR
    assert leftovers(resident) == []


def test_an_installer_that_fails_is_told_with_its_exit_code(resident: Agent, tmp_path: Path) -> None:
    arguments = staged(resident, msu.build_damaged(tmp_path / "kb.msu", msu.Damage.MISSING_FILE, kb=KB, ubr=UBR))
    status = resident.wait_for_job(resident.call("package_install", arguments).result()["job"])
    assert (status["state"], status["phase"], status["error"]["code"]) == ("failed", "finish", "package_install_failed")
    assert status["exit_code"] != 0
    assert leftovers(resident) == []


def test_a_job_that_failed_can_be_started_again(resident: Agent, tmp_path: Path) -> None:
    arguments = staged(resident, msu.build_damaged(tmp_path / "kb.msu", msu.Damage.NO_CABINET, kb=KB, ubr=UBR))
    first = resident.call("package_install", arguments).result()["job"]
    resident.wait_for_job(first)
    second = resident.call("package_install", arguments).result()
    assert second["changed"] is True
    assert second["job"] != first
    resident.wait_for_job(second["job"])


def big_package(path: Path) -> Path:
    """One that takes long enough to be looked at while it installs."""
    return msu.build(path, kb=KB, ubr=UBR, files={rf"C:\lab\file{index}.bin": os.urandom(3_000_000) for index in range(8)})


def test_a_job_survives_the_service_and_is_one_job_however_often_it_is_asked_for(resident: Agent, tmp_path: Path) -> None:
    arguments = staged(resident, big_package(tmp_path / "kb.msu"))
    other = staged(resident, msu.build(tmp_path / "other.msu", kb="KB5000001", ubr=1))
    started = resident.call("package_install", arguments).result()["job"]
    if resident.call("job_status", {"job": started}).result()["state"] == "running":
        again = resident.call("package_install", arguments).result()
        assert again == {"job": started, "changed": False}
    if resident.call("job_status", {"job": started}).result()["state"] == "running":
        reply = resident.call("package_install", other)
        assert "result" in reply.document or reply.code == "agent_busy"
    resident.host.service_stop(SERVICE)
    resident.host.service_start(SERVICE)
    assert resident.wait_for_job(started)["state"] == "succeeded"


def test_a_job_whose_process_is_gone_says_that_it_was_interrupted(resident: Agent, tmp_path: Path) -> None:
    arguments = staged(resident, big_package(tmp_path / "kb.msu"))
    started = resident.call("package_install", arguments).result()["job"]
    pid = json.loads((resident.file("jobs") / f"{started}.json").read_text())["pid"]
    assert resident.host.run(["taskkill", "/f", "/pid", str(pid)]).returncode == 0
    status = resident.wait_for_job(started)
    assert (status["state"], status["error"]["code"]) == ("failed", "job_interrupted")
    assert resident.call("package_install", arguments).result()["changed"] is True


def test_a_power_cut_in_the_middle_is_an_interruption_too(resident: Agent, tmp_path: Path) -> None:
    arguments = staged(resident, big_package(tmp_path / "kb.msu"))
    started = resident.call("package_install", arguments).result()["job"]
    resident.host.power_cut()
    resident.host.up()
    status = resident.call("job_status", {"job": started}).result()
    assert status["state"] in ("failed", "succeeded")
    if status["state"] == "failed":
        assert status["error"]["code"] == "job_interrupted"


def test_a_job_of_an_agent_sent_for_one_task_outlives_it(agent: Agent, tmp_path: Path) -> None:
    arguments = staged(agent, msu.build(tmp_path / "kb.msu", kb=KB, ubr=UBR))
    started = agent.call("package_install", arguments).result()["job"]
    agent.host.path(r"C:\lab\hotpatch-agent.exe").rename(agent.host.path(r"C:\lab\moved.exe"))
    agent.host.path(r"C:\lab\moved.exe").rename(agent.host.path(r"C:\lab\hotpatch-agent.exe"))
    assert agent.wait_for_job(started)["state"] == "succeeded"


@pytest.mark.parametrize("job", ["0" * 32, "..\\trust", "", "A" * 32])
def test_an_unknown_job_is_called_so(resident: Agent, job: str) -> None:
    assert resident.call("job_status", {"job": job}).code == "job_unknown"


def test_only_a_package_of_the_store_is_installed(resident: Agent) -> None:
    assert resident.call("package_install", {"sha256": "0" * 64, "kb": KB}).code == "store_object_missing"
    resident.put(b"x").result()
    for kb in ("5094126", "KB", "KB12345", "KB123456789", "KB50941;6", 'KB"50941'):
        assert resident.call("package_install", {"sha256": sha256(b"x"), "kb": kb}).code == "argument_invalid"


def test_a_package_that_was_exchanged_in_the_store_is_not_installed(resident: Agent, tmp_path: Path) -> None:
    arguments = staged(resident, msu.build(tmp_path / "kb.msu", kb=KB, ubr=UBR))
    evil = msu.build(tmp_path / "evil.msu", kb=KB, ubr=1, files={FILE: b"evil"})
    (resident.file("store") / arguments["sha256"]).write_bytes(evil.read_bytes())
    status = resident.wait_for_job(resident.call("package_install", arguments).result()["job"])
    assert (status["state"], status["error"]["code"]) == ("failed", "store_damaged")
    assert not resident.host.path(FILE).exists()


def test_a_job_that_ends_while_it_is_asked_about_is_never_called_interrupted(resident: Agent, tmp_path: Path) -> None:
    arguments = staged(resident, msu.build_damaged(tmp_path / "kb.msu", msu.Damage.NO_CABINET, kb=KB, ubr=UBR))
    for _ in range(3):
        job = resident.call("package_install", arguments).result()["job"]
        with ThreadPoolExecutor(4) as pool:
            ends = list(pool.map(lambda _, job=job: resident.wait_for_job(job), range(4)))
        assert {(status["state"], status["error"]["code"]) for status in ends} == {("failed", "package_damaged")}
