# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enrolling: what is written, what stands in the way, and what a reboot is needed for."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.hotpatch.windows.plugins.action.enrollment import ActionModule

from .fakes import FakeHost, Json, run_action

NAMES = (
    "EnableVirtualizationBasedSecurity",
    "HotPatchTableSize",
    "EnrollmentPackageName",
    "EnrollmentPackageVersion",
    "AllowRebootlessUpdates",
    "HotPatchRestrictions",
)


class Registry(FakeHost):
    """A host with the enrolment values."""

    def __init__(self, programs: set[str], **info: t.Any) -> None:
        super().__init__(programs=programs)
        self.values: Json = dict.fromkeys(NAMES) | {"ArcSubscription": 1}
        self.info: Json = {
            "host": {
                "product_name": "Windows Server 2025 Datacenter",
                "edition_id": "ServerDatacenter",
                "installation_type": "Server Core",
                "current_build": 26100,
                "ubr": 32690,
                "architecture": "x64",
            },
            "updates": [],
            "vbs": {"status": "off"},
            "secure_boot": "on",
            "arc": {"installed": True, "connected": True},
            "pending_reboot": {"required": False, "reasons": []},
            "boot": {"id": "boot-1", "started": 0},
            "payloads": [],
            **info,
        }
        self.handlers = {"host_info": lambda _a, _d: self.info | {"enrollment": dict(self.values)}, "enrollment_set": self._set}

    def _set(self, arguments: Json, dry: bool) -> Json:
        before = dict(self.values)
        after = before | {row["name"]: row["data"] for row in arguments["values"]}
        if not dry:
            self.values = after
        return {"before": before, "after": after, "changed": before != after}


@pytest.fixture
def registry(host: FakeHost) -> Registry:
    return Registry(host.programs)


def enroll(registry: Registry, agent: Path, *, check: bool = False, state: str = "enrolled") -> Json:
    return run_action(ActionModule, registry, {"state": state}, agent=agent, check=check, diff=True)


def test_enrolling_writes_the_documented_values_and_asks_for_a_reboot(registry: Registry, agent: Path) -> None:
    result = enroll(registry, agent)
    assert (result["changed"], result["reboot_required"]) == (True, True)
    assert registry.values["EnableVirtualizationBasedSecurity"] == 1
    assert registry.values["HotPatchTableSize"] == 0x1000
    assert result["diff"]["after"]["HotPatchTableSize"] == 0x1000
    assert {row["code"]: row["met"] for row in result["prerequisites"]}["vbs_running"] is False


def test_a_second_run_writes_nothing(registry: Registry, agent: Path) -> None:
    enroll(registry, agent)
    result = enroll(registry, agent)
    assert result["changed"] is False
    assert registry.operations().count("enrollment_set") == 1


def test_check_mode_writes_nothing_and_foretells_the_rest(registry: Registry, agent: Path) -> None:
    foretold = enroll(registry, agent, check=True)
    assert registry.values["HotPatchTableSize"] is None
    done = enroll(registry, agent)
    assert {key: foretold[key] for key in ("changed", "after", "reboot_required")} == {
        key: done[key] for key in ("changed", "after", "reboot_required")
    }


def test_a_running_protection_needs_no_reboot_to_leave_and_stays_on(registry: Registry, agent: Path) -> None:
    enroll(registry, agent)
    result = enroll(registry, agent, state="unenrolled")
    assert (result["changed"], result["reboot_required"]) == (True, False)
    assert registry.values["EnableVirtualizationBasedSecurity"] == 1
    assert registry.values["HotPatchTableSize"] is None
    assert enroll(registry, agent, state="unenrolled")["changed"] is False


@pytest.mark.parametrize(
    ("info", "code"),
    [
        ({"secure_boot": "off"}, "secure_boot"),
        ({"arc": {"installed": True, "connected": False}}, "arc_connected"),
        ({"arc": {}}, "arc_connected"),
    ],
)
def test_what_no_value_can_meet_is_named_and_nothing_is_written(host: FakeHost, agent: Path, info: Json, code: str) -> None:
    registry = Registry(host.programs, **info)
    result = enroll(registry, agent)
    assert result["error"]["code"] == "enrollment_prerequisite"
    assert result["error"]["details"]["unmet"] == [code]
    assert result["error"]["remedy"]
    assert registry.changes() == []


def test_a_windows_without_hotpatches_is_told_so(host: FakeHost, agent: Path) -> None:
    registry = Registry(host.programs)
    registry.info["host"] |= {"current_build": 17763, "product_name": "Windows Server 2019 Standard"}
    assert enroll(registry, agent)["error"]["details"]["unmet"] == ["product"]
    assert enroll(registry, agent, state="unenrolled")["changed"] is False


def test_the_azure_edition_of_2022_gets_its_mark(host: FakeHost, agent: Path) -> None:
    registry = Registry(host.programs)
    registry.info["host"] |= {
        "current_build": 20348,
        "ubr": 5020,
        "edition_id": "ServerTurbine",
        "product_name": "Windows Server 2022 Datacenter: Azure Edition",
    }
    enroll(registry, agent)
    assert registry.values["EnrollmentPackageVersion"] == "10.0.20348.1129"
