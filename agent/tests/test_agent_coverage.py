# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The coverage gap: which processes run vulnerable code still, and what is the cheapest that closes the gap for each?"""

from __future__ import annotations

import shutil

from agent_driver import SERVICE, Agent, sha256, wait_for
from payload_driver import Signer, alerts, leaks, section, staged, start_consoles

from lab import targets
from lab.orders import DLL

FIXED = [False] * len(targets.EXPLOITS)
RENAMES = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager"


def gap(agent: Agent) -> dict[int, tuple[str | None, str | None, str]]:
    """Service, code and remedy for each process of the gap."""
    return {row["pid"]: (row["service"], row["code"], row["remedy"]) for row in section(agent, "coverage")}


def update_file(agent: Agent) -> None:
    """The fixed module is put in the place of the old one, as an installer does while the old one is loaded: by another file."""
    place = agent.host.path(DLL)
    place.unlink()
    shutil.copyfile(targets.build("v2").dll, place)


def test_applying_closes_the_gap_where_nothing_is_in_the_way(agent: Agent, fix: bytes, signer: Signer) -> None:
    service = agent.host.install_target()
    ((pid, console),) = start_consoles(agent.host, 1).items()
    arguments = staged(agent, fix, signer)
    assert gap(agent) == {}  # nothing is wanted of this host yet
    agent.call("apply", {**arguments, "pids": [pid]}).result()
    assert leaks(console) == FIXED
    assert gap(agent) == {service.pid(): ("orders", None, "apply")}
    agent.call("apply", arguments).result()
    assert (leaks(service), gap(agent)) == (FIXED, {})


def test_a_process_older_than_its_fixed_file_is_restarted(resident: Agent, fix: bytes, signer: Signer) -> None:
    service = resident.host.install_target()
    ((pid, console),) = start_consoles(resident.host, 1).items()
    update_file(resident)
    report = resident.call("apply", staged(resident, fix, signer)).result()
    assert report["summary"] == {"applied": 0, "already_applied": 0, "refused": 2, "busy": 0, "failed": 0, "inconsistent": 0}
    assert {row["verdict"] for row in report["processes"]} == {"target_file_changed"}
    assert gap(resident) == {
        service.pid(): ("orders", "target_file_changed", "restart_service"),
        pid: (None, "target_file_changed", "restart_process"),
    }
    resident.host.service_stop("orders")
    resident.host.service_start("orders")
    assert leaks(service) == FIXED
    assert leaks(console) != FIXED
    assert list(gap(resident)) == [pid]
    resident.host.run(["taskkill", "/f", "/pid", str(pid)])
    wait_for(lambda: gap(resident) == {})
    # A process that runs the fixed build is no failure of the watch either.
    wait_for(lambda: alerts(resident) == [])


def test_a_fix_in_memory_is_no_gap_when_the_file_is_fixed_too(resident: Agent, fix: bytes, signer: Signer) -> None:
    service = resident.host.install_target()
    resident.call("apply", staged(resident, fix, signer)).result()
    update_file(resident)
    resident.call("trust_set", signer.trusted()).result()  # the watch looks at once
    assert leaks(service) == FIXED
    assert (gap(resident), alerts(resident)) == ({}, [])


def test_a_file_that_is_exchanged_at_the_next_boot_only_needs_the_reboot(resident: Agent, fix: bytes, signer: Signer) -> None:
    service = resident.host.install_target()
    update_file(resident)
    resident.call("apply", staged(resident, fix, signer)).result()
    assert gap(resident) == {service.pid(): ("orders", "target_file_changed", "restart_service")}
    names = rf"\??\C:\new\orders.dll\0!\??\{DLL.upper()}"
    added = ["reg", "add", RENAMES, "/v", "PendingFileRenameOperations", "/t", "REG_MULTI_SZ", "/d", names, "/f"]
    assert resident.host.run(added).returncode == 0
    assert gap(resident) == {service.pid(): ("orders", "target_file_changed", "reboot")}


def test_a_payload_that_is_not_in_the_store_any_more_is_an_alert(resident: Agent, fix: bytes, signer: Signer) -> None:
    service = resident.host.install_target()
    update_file(resident)
    resident.call("apply", staged(resident, fix, signer)).result()
    (resident.file("store") / sha256(fix)).unlink()
    assert gap(resident) == {}
    resident.host.service_stop(SERVICE)
    resident.host.service_start(SERVICE)
    wait_for(lambda: alerts(resident) == ["store_object_missing"])
    assert service.pid()
