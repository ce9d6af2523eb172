# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agent says of a host is what the host's registry and services say; what it sets is set, and nothing else."""

from __future__ import annotations

import shutil

import pytest
from agent_driver import BUILD, SENT_AGENT, Agent, Json, wait_for

from lab.pytest_plugin import MakeHost

MEMORY = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management"
DEVICE_GUARD = r"HKLM\SYSTEM\CurrentControlSet\Control\DeviceGuard"
MARKER = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Update\TargetingInfo\DynamicInstalled\Hotpatch.amd64"
SERVICING = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing"
CONTROL = r"HKLM\SYSTEM\CurrentControlSet\Control"


def section(agent: Agent, name: str) -> Json:
    result = agent.call("host_info", {"sections": [name]}).result()
    found: Json = result[name]
    return found


def test_the_product_and_its_level_are_read(agent: Agent) -> None:
    spec = agent.host.spec
    assert section(agent, "host") == {
        "computer_name": spec.name.upper(),
        "product_name": spec.product,
        "edition_id": spec.edition,
        "installation_type": spec.installation_type,
        "display_version": spec.display_version,
        "current_build": spec.build,
        "ubr": spec.ubr,
        "architecture": "x64",
    }


def test_without_a_choice_every_section_is_given(agent: Agent) -> None:
    names = {
        "host",
        "updates",
        "enrollment",
        "vbs",
        "secure_boot",
        "arc",
        "pending_reboot",
        "boot",
        "agent",
        "payloads",
        "coverage",
        "alerts",
    }
    assert set(agent.call("host_info").result()) == names
    assert set(agent.call("host_info", {"sections": ["boot", "host"]}).result()) == {"boot", "host"}


def test_updates_are_those_that_servicing_holds(make_host: MakeHost, agent: Agent) -> None:
    del make_host
    packages = SERVICING + r"\Packages"
    agent.host.registry_set(packages + r"\Package_for_KB5000001~31bf3856ad364e35~amd64~~1.0", "CurrentState", "112")
    agent.host.registry_set(packages + r"\Package_for_KB5000002~31bf3856ad364e35~amd64~~1.0", "CurrentState", 64)
    agent.host.registry_set(packages + r"\Package_for_KB5000003~31bf3856ad364e35~amd64~~1.0", "CurrentState", 0)
    rollup = packages + r"\Package_for_RollupFix~31bf3856ad364e35~amd64~~26100.1.1"
    agent.host.registry_set(rollup, "CurrentState", 112)
    agent.host.registry_set(rollup, "InstallLocation", r"\\?\C:\Windows\SoftwareDistribution\Windows11.0-KB5000004-x64.cab")
    agent.host.registry_set(packages + r"\Microsoft-Windows-Foundation-Package~31bf3856ad364e35~amd64~~1.0", "CurrentState", 112)
    updates = {update["kb"]: update["state"] for update in agent.call("host_info", {"sections": ["updates"]}).result()["updates"]}
    assert updates == {"KB5082063": "installed", "KB5000001": "installed", "KB5000002": "staged", "KB5000004": "installed"}


@pytest.mark.parametrize("vbs", ["off", "enabled", "running"])
@pytest.mark.parametrize("secure_boot", ["on", "unsupported"])
def test_protection_is_told_as_it_is(make_host: MakeHost, agent: Agent, vbs: str, secure_boot: str) -> None:
    host = make_host(vbs=vbs, secure_boot=secure_boot, arc_connected=False)
    host.path(SENT_AGENT).parent.mkdir(parents=True, exist_ok=True)
    host.path(SENT_AGENT).write_bytes(agent.host.path(SENT_AGENT).read_bytes())
    result = Agent(host).call("host_info", {"sections": ["vbs", "secure_boot", "arc", "enrollment"]}).result()
    assert (result["vbs"]["status"], result["secure_boot"]) == (vbs, secure_boot)
    assert result["arc"] == {"installed": False, "connected": False, "version": None}
    assert result["enrollment"]["EnableVirtualizationBasedSecurity"] == (None if vbs == "off" else 1)
    assert result["enrollment"]["ArcSubscription"] is None


def test_the_released_program_asks_windows_itself_and_guesses_nothing(agent: Agent) -> None:
    shutil.copyfile(BUILD / "hotpatch-agent.exe", agent.host.path(SENT_AGENT))
    reply = agent.call("host_info", {"sections": ["host", "vbs", "secure_boot", "arc", "updates"]})
    assert reply.document["agent"]["build"] == "release"
    result = reply.result()
    # The lab's key says "running" and "on"; Wine has no DeviceGuard in WMI and no UEFI, and neither answer may be made up.
    assert result["vbs"]["status"] == "unknown"
    assert "WMI" in result["vbs"]["source"]
    assert result["secure_boot"] == "unsupported"
    assert result["arc"] == {"installed": False, "connected": False, "version": None}
    # KB1234567 is what Wine's Win32_QuickFixEngineering holds: the way through WMI works.
    assert {update["kb"] for update in result["updates"]} == {"KB1234567", "KB5082063"}
    assert result["host"]["ubr"] == agent.host.spec.ubr


def test_each_reason_for_a_reboot_is_found_and_named(agent: Agent) -> None:
    assert section(agent, "pending_reboot") == {"required": False, "reasons": []}
    agent.host.registry_set(SERVICING + r"\RebootPending", "Mark", 1)
    assert section(agent, "pending_reboot")["reasons"] == ["component_based_servicing"]
    update = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired"
    agent.host.registry_set(update, "Mark", 1)
    agent.host.registry_set(CONTROL + r"\ComputerName\ComputerName", "ComputerName", "OTHER")
    place = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager"
    added = ["reg", "add", place, "/v", "PendingFileRenameOperations", "/t", "REG_MULTI_SZ", "/d", r"\??\C:\a\0\??\C:\b", "/f"]
    assert agent.host.run(added).returncode == 0
    reasons = ["component_based_servicing", "windows_update", "file_rename", "computer_rename"]
    assert section(agent, "pending_reboot") == {"required": True, "reasons": reasons}


def test_enrolling_writes_exactly_the_wanted_values_and_can_be_taken_back(agent: Agent) -> None:
    wanted: Json = {
        "values": [
            {"name": "EnableVirtualizationBasedSecurity", "data": 1},
            {"name": "HotPatchTableSize", "data": 4096},
            {"name": "EnrollmentPackageName", "data": "Hotpatch Enrollment Package"},
        ]
    }
    before = {"EnableVirtualizationBasedSecurity": 1, "HotPatchTableSize": None, "EnrollmentPackageName": None}
    after = {"EnableVirtualizationBasedSecurity": 1, "HotPatchTableSize": 4096, "EnrollmentPackageName": "Hotpatch Enrollment Package"}
    assert agent.call("enrollment_set", wanted, dry_run=True).result() == {"before": before, "after": after, "changed": True}
    assert agent.host.registry_get(MEMORY, "HotPatchTableSize") is None
    assert agent.call("enrollment_set", wanted).result() == {"before": before, "after": after, "changed": True}
    assert agent.host.registry_get(MEMORY, "HotPatchTableSize") == 4096
    assert agent.host.registry_get(DEVICE_GUARD, "EnableVirtualizationBasedSecurity") == 1
    assert agent.host.registry_get(MARKER, "Name") == "Hotpatch Enrollment Package"
    assert agent.host.registry_get(MARKER, "Version") is None
    assert agent.call("enrollment_set", wanted).result() == {"before": after, "after": after, "changed": False}
    removed: Json = {"values": [{"name": "HotPatchTableSize", "data": None}, {"name": "EnrollmentPackageName", "data": None}]}
    assert agent.call("enrollment_set", removed).result()["changed"] is True
    assert agent.host.registry_get(MEMORY, "HotPatchTableSize") is None
    assert agent.host.registry_get(MARKER, "Name") is None


@pytest.mark.parametrize(
    "values",
    [
        [{"name": "ArcSubscription", "data": 1}],
        [{"name": "Userinit", "data": "evil.exe"}],
        [{"name": "HotPatchTableSize", "data": "4096"}],
        [{"name": "HotPatchTableSize", "data": 2**32}],
        [{"name": "HotPatchTableSize"}],
        [{"name": "HotPatchTableSize", "data": 1}, {"name": "HotPatchTableSize", "data": 2}],
        [{"name": "HotPatchTableSize", "data": 1}, {"name": "EnrollmentPackageName", "data": 7}],
    ],
    ids=["Azure's own", "not of enrolment", "text for a number", "33 bits", "no data", "twice", "right, then wrong"],
)
def test_a_wrong_enrolment_value_is_refused_and_nothing_is_written(agent: Agent, values: list[Json]) -> None:
    assert agent.call("enrollment_set", {"values": values}).code == "argument_invalid"
    assert agent.host.registry_get(MEMORY, "HotPatchTableSize") is None


def test_a_boot_keeps_its_id_until_the_next(resident: Agent) -> None:
    first = resident.call("boot_id").result()["boot_id"]
    assert resident.call("boot_id").result()["boot_id"] == first
    assert section(resident, "boot")["id"] == first
    resident.host.power_cut()
    resident.host.up()
    assert resident.call("boot_id").result()["boot_id"] != first


def test_a_reboot_that_is_asked_for_happens_once(resident: Agent) -> None:
    boot = resident.call("boot_id").result()["boot_id"]
    request: Json = {"delay_s": 0, "message": "test", "boot_id": boot}
    assert resident.call("reboot", request, dry_run=True).result() == {"boot_id": boot, "changed": True}
    assert resident.call("reboot", {**request, "boot_id": "another"}).result() == {"boot_id": boot, "changed": False}
    assert resident.host.boot_count == 1
    assert resident.call("reboot", request).result() == {"boot_id": boot, "changed": True}
    resident.host.wait_for_boot(2)
    # Asked again after it happened, as a controller does that lost the connection: nothing more happens.
    again = wait_for(lambda: resident.call("reboot", request).result())
    assert (again["changed"], again["boot_id"] != boot, resident.host.boot_count) == (False, True, 2)


def test_trust_is_exactly_what_was_set(agent: Agent) -> None:
    key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q=="
    empty: Json = {"keys": [], "revoked_keys": [], "revoked_payloads": [], "sequences": {}}
    assert agent.call("trust_get").result() == empty
    wanted: Json = {
        "keys": [{"public_key": key, "name": "release", "not_after": 2_000_000_000}],
        "revoked_keys": ["1" * 64],
        "revoked_payloads": ["2" * 64],
    }
    done = agent.call("trust_set", wanted).result()
    assert (done["before"], done["changed"]) == (empty, True)
    held = agent.call("trust_get").result()
    assert held == done["after"]
    assert [(entry["public_key"], entry["name"], entry["not_after"]) for entry in held["keys"]] == [(key, "release", 2_000_000_000)]
    assert (held["revoked_keys"], held["revoked_payloads"]) == (["1" * 64], ["2" * 64])
    assert agent.call("trust_set", wanted).result()["changed"] is False
    wrong: Json = {**wanted, "keys": [*wanted["keys"], *wanted["keys"]]}
    assert agent.call("trust_set", wrong).code == "argument_invalid"
    wrong = {**wanted, "keys": [{"public_key": key[:-4] + "AAA=", "name": "n", "not_after": None}]}
    assert agent.call("trust_set", wrong).code == "argument_invalid"
    assert agent.call("trust_get").result() == held


@pytest.mark.parametrize(
    "content", ["", "{", '{"version": 2}', '{"version":1,"keys":[],"revoked_keys":[],"revoked_payloads":[],"sequences":{},"more":1}']
)
def test_damaged_trust_is_never_taken_for_none(agent: Agent, content: str) -> None:
    agent.call("trust_set", {"keys": [], "revoked_keys": ["1" * 64], "revoked_payloads": []}).result()
    agent.file("trust.json").write_text(content)
    assert agent.call("trust_get").code == "store_damaged"
    assert agent.call("trust_set", {"keys": [], "revoked_keys": [], "revoked_payloads": []}).code == "store_damaged"
    assert agent.file("trust.json").read_text() == content
