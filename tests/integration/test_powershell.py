# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same modules over a connection with PowerShell: what the collection sends there, on a host that really does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import Lab
from lab.host import Host
from lab.orders import OrdersService

from .controller import Controller, Json
from .fixes import Fix, leaks

pytestmark = pytest.mark.lab


@pytest.fixture
def over_powershell(lab: Lab, ready_host: Host) -> Json:
    """Variables that take the host over the emulated connection."""
    return {"ansible_connection": "emulated_powershell", "emulated_powershell_folder": str(lab.root / "hosts" / ready_host.name)}


def test_a_host_is_read_in_one_module_call(ready_host: Host, controller: Controller, over_powershell: Json) -> None:
    result = controller.task("host_info", {"sections": ["host"]}, ready_host, variables=over_powershell)
    assert "failed" not in result, result
    assert result["info"]["host"]["ubr"] == 32690
    assert result["agent"]["mode"] == "resident"


def test_a_file_is_copied_imported_and_applied(
    trusting_host: Host, service: OrdersService, controller: Controller, over_powershell: Json, fix: Fix
) -> None:
    result = controller.task("hotpatch", {"src": str(fix.path)}, trusting_host, variables=over_powershell)
    assert "failed" not in result, result
    assert leaks(service) == [False, False]
    assert trusting_host.path(rf"C:\ProgramData\hotpatch.windows\store\{fix.sha256}").read_bytes() == fix.path.read_bytes()
    assert list(trusting_host.path(r"C:\lab\tmp").glob("*")) == []


def test_without_an_agent_it_is_sent_used_and_removed(host: Host, lab: Lab, controller: Controller) -> None:
    variables = {"ansible_connection": "emulated_powershell", "emulated_powershell_folder": str(lab.root / "hosts" / host.name)}
    result = controller.task("host_info", {}, host, variables=variables)
    assert "failed" not in result, result
    assert result["agent"]["mode"] == "transient"
    assert list(host.path(r"C:\lab\tmp").glob("*")) == []


def test_become_is_carried_here_and_refused_over_winrs(ready_host: Host, controller: Controller, over_powershell: Json) -> None:
    become = {"ansible_become": True, "ansible_become_method": "ansible.builtin.runas", "ansible_become_user": "SYSTEM"}
    assert controller.task("host_info", {}, ready_host, variables=become)["error"]["code"] == "argument_conflict"
    result = controller.task("host_info", {"sections": ["boot"]}, ready_host, variables={**over_powershell, **become})
    assert "failed" not in result, result
    assert Path(over_powershell["emulated_powershell_folder"]).is_dir()
