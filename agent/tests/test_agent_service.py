# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent as a service: it comes, is upgraded and goes without leaving half of anything, and nobody can put another in its place."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from agent_driver import BUILD, HOME, SENT_AGENT, SERVICE, SERVICE_KEY, Agent, sha256, wait_for

EVENT_SOURCE = r"HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\hotpatch-agent"
AUTOMATIC = 2
OWN_PROCESS = 0x10


def image_of(data: bytes) -> str:
    return rf"{HOME}\agent\{sha256(data)}\hotpatch-agent.exe"


def sent(agent: Agent) -> Path:
    return agent.host.path(SENT_AGENT)


def test_it_is_an_automatic_service_of_the_system_run_from_the_protected_folder(resident: Agent) -> None:
    image = image_of(sent(resident).read_bytes())
    settings = {name: resident.host.registry_get(SERVICE_KEY, name) for name in ("ImagePath", "Start", "Type", "ObjectName")}
    assert settings == {"ImagePath": f'"{image}" serve', "Start": AUTOMATIC, "Type": OWN_PROCESS, "ObjectName": "LocalSystem"}
    assert resident.host.service_state(SERVICE) == "running"
    assert resident.host.registry_get(EVENT_SOURCE, "EventMessageFile") == image
    assert resident.host.path(image).read_bytes() == sent(resident).read_bytes()


def test_installing_again_changes_nothing_and_restarts_nothing(resident: Agent) -> None:
    before = resident.host.service_pid(SERVICE)
    assert resident.command("install").result()["changed"] is False
    assert resident.host.service_pid(SERVICE) == before


def test_installing_starts_a_service_that_was_stopped(resident: Agent) -> None:
    resident.host.service_stop(SERVICE)
    assert resident.command("install").result()["changed"] is True
    assert resident.host.service_state(SERVICE) == "running"


def test_it_starts_again_with_the_host(resident: Agent) -> None:
    resident.host.reboot()
    assert resident.host.service_state(SERVICE) == "running"
    assert resident.call("boot_id").document["agent"]["mode"] == "resident"


def test_an_upgrade_keeps_the_state_and_removes_the_older_program(agent: Agent) -> None:
    newer = sent(agent).read_bytes()
    older = newer + b"an older build"
    sent(agent).write_bytes(older)
    agent.command("install").result()
    agent.put(b"object").result()
    agent.call("trust_set", {"keys": [], "revoked_keys": ["a" * 64], "revoked_payloads": []}).result()
    sent(agent).write_bytes(newer)
    result = agent.command("install").result()
    assert (result["changed"], result["path"], result["previous"]["path"]) == (True, image_of(newer), image_of(older))
    assert result["previous"]["version"] == result["version"]
    assert agent.call("trust_get").document["agent"]["sha256"] == sha256(newer)
    assert agent.call("trust_get").result()["revoked_keys"] == ["a" * 64]
    assert agent.stored() == {sha256(b"object"): b"object"}
    assert not agent.host.path(image_of(older)).exists()


def test_a_new_agent_that_does_not_start_gives_way_to_the_old_one(resident: Agent) -> None:
    working = sent(resident).read_bytes()
    # As a service it is started by its hash's path; a folder in the place of its program makes that start fail.
    broken = working + b"broken"
    place = resident.host.path(rf"{HOME}\agent") / sha256(broken) / "hotpatch-agent.exe"
    place.mkdir(parents=True)
    (place / "in the way").touch()
    sent(resident).write_bytes(broken)
    assert resident.command("install").error()["message"]
    assert resident.host.service_state(SERVICE) == "running"
    assert resident.call("boot_id").document["agent"]["sha256"] == sha256(working)


def test_uninstalling_leaves_nothing_and_can_be_repeated(resident: Agent) -> None:
    resident.put(b"object").result()
    foreseen = resident.call("agent_uninstall", {}, dry_run=True).result()
    assert foreseen["changed"] is True
    assert resident.host.service_state(SERVICE) == "running"
    result = resident.command("uninstall").result()
    assert (result["changed"], result["remaining"]) == (True, [])
    assert resident.host.service_state(SERVICE) == "absent"
    assert resident.host.registry_get(EVENT_SOURCE, "EventMessageFile") is None
    assert not resident.host.path(HOME).exists()
    assert resident.command("uninstall").result()["changed"] is False


def test_uninstalling_can_keep_what_is_staged_and_trusted(resident: Agent) -> None:
    resident.put(b"object").result()
    resident.call("trust_set", {"keys": [], "revoked_keys": ["a" * 64], "revoked_payloads": []}).result()
    assert resident.call("agent_uninstall", {"keep_store": True}).result()["changed"] is True
    assert resident.stored() == {sha256(b"object"): b"object"}
    assert sorted(path.name for path in resident.host.path(HOME).iterdir()) == ["store", "trust.json"]
    resident.command("install").result()
    assert resident.call("trust_get").result()["revoked_keys"] == ["a" * 64]


@pytest.mark.parametrize("folder", [HOME, HOME + r"\store"], ids=["the folder", "a folder in it"])
def test_a_folder_that_others_can_write_to_is_not_used(agent: Agent, folder: str) -> None:
    place = agent.host.path(folder)
    place.mkdir(parents=True)
    agent.host.path(HOME).chmod(0o750)
    place.chmod(0o777)
    planted = place / "trust.json"
    planted.write_text("{}")
    for reply in (agent.command("install"), agent.put(b"x"), agent.call("trust_get"), agent.call("host_info")):
        assert reply.code == "agent_unsafe_path"
        assert folder in reply.error()["where"]
    assert agent.host.service_state(SERVICE) == "absent"
    assert planted.read_text() == "{}"


def test_starting_and_stopping_are_told_in_the_event_log(resident: Agent) -> None:
    def texts() -> list[str]:
        # Wine prints each entry's level and text, not its source.
        return [event.text for event in resident.host.event_log() if event.level == "information"]

    wait_for(lambda: any("agent 0.1.0 has started" in text for text in texts()))
    resident.host.service_stop(SERVICE)
    wait_for(lambda: any("agent has stopped" in text for text in texts()))


def test_many_readers_are_served_side_by_side(resident: Agent) -> None:
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: resident.call("boot_id"), range(24)))
    assert len({reply.result()["boot_id"] for reply in replies}) == 1


def test_metrics_are_written_for_the_collector(resident: Agent) -> None:
    file = resident.file(r"metrics\hotpatch_windows.prom")
    lines = wait_for(lambda: file.read_text() if file.exists() else None).splitlines()
    samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert samples['hotpatch_windows_agent_info{version="0.1.0",build="lab"}'] == "1"
    assert samples["hotpatch_windows_payloads_wanted"] == "0"
    assert int(samples["hotpatch_windows_last_watch_timestamp_seconds"]) > 1_700_000_000
    assert not list(file.parent.glob("*.tmp"))


def test_both_programs_are_small_static_and_hardened() -> None:
    dynamic_base, high_entropy, no_execute = 0x40, 0x20, 0x100
    for name in ("hotpatch-agent.exe", "hotpatch-agent-lab.exe"):
        data = (BUILD / name).read_bytes()
        assert len(data) < 1_500_000
        header = int.from_bytes(data[0x3C:0x40], "little")
        assert data[header + 8 : header + 12] == b"\0\0\0\0", "a time stamp makes builds differ"
        characteristics = int.from_bytes(data[header + 24 + 70 : header + 24 + 72], "little")
        assert characteristics & (dynamic_base | high_entropy | no_execute) == dynamic_base | high_entropy | no_execute
        assert b"libstdc++" not in data
        assert b"libwinpthread" not in data
