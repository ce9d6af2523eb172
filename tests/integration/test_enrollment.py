# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enrolling and leaving, asserted in the host's registry."""

from __future__ import annotations

import pytest

from lab.host import Host
from lab.pytest_plugin import MakeHost

from .controller import Controller

pytestmark = pytest.mark.lab
VBS = (r"HKLM\SYSTEM\CurrentControlSet\Control\DeviceGuard", "EnableVirtualizationBasedSecurity")
TABLE = (r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management", "HotPatchTableSize")


def test_enrolling_sets_the_values_and_is_done_once(make_host: MakeHost, controller: Controller) -> None:
    host = make_host(vbs="off")
    foretold = controller.play("hotpatch.windows.enroll", [host], check=True).expect()
    assert host.registry_get(*TABLE) is None
    first = controller.play("hotpatch.windows.enroll", [host]).expect()
    result = first.result("Enrol or leave")
    assert (result["changed"], result["reboot_required"]) == (True, True)
    assert (host.registry_get(*VBS), host.registry_get(*TABLE)) == (1, 0x1000)
    assert host.boot_count == 1
    assert foretold.result("Enrol or leave")["after"] == result["after"]
    assert controller.play("hotpatch.windows.enroll", [host]).expect().count("changed") == 0
    assert (
        "virtualization" in first.result("Show what is still missing")["msg"]
        or "Reboot" in first.result("Show what is still missing")["msg"]
    )


def test_a_prerequisite_that_nothing_here_can_meet_is_named(make_host: MakeHost, controller: Controller) -> None:
    host = make_host(secure_boot="off")
    host.install_agent()
    result = controller.task("enrollment", {}, host)
    assert result["error"]["code"] == "enrollment_prerequisite"
    assert result["error"]["details"]["unmet"] == ["secure_boot"]
    assert host.registry_get(*TABLE) is None


def test_leaving_takes_the_agent_with_it_and_keeps_the_protection_on(host: Host, controller: Controller) -> None:
    controller.play("hotpatch.windows.enroll", [host]).expect()
    outcome = controller.play("hotpatch.windows.unenroll", [host]).expect()
    assert outcome.count("changed") == 2
    assert (host.registry_get(*VBS), host.registry_get(*TABLE)) == (1, None)
    assert host.service_state("hotpatch-agent") == "absent"
    assert controller.play("hotpatch.windows.unenroll", [host]).expect().count("changed") == 0
    assert controller.play("hotpatch.windows.enroll", [host]).expect().count("changed") == 2
