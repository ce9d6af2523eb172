# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A payload closes the hole in the running service and leaves it again, by the collection alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.host import Host
from lab.orders import OrdersService

from .controller import Controller
from .fixes import Fix, leaks

pytestmark = pytest.mark.lab


def test_the_hole_is_closed_in_the_running_process_and_opened_again(
    trusting_host: Host, service: OrdersService, controller: Controller, fix: Fix
) -> None:
    pid = service.pid()
    assert leaks(service) == [True, True]
    arguments = {"src": str(fix.path), "probe": {"url": f"{service.url}/health", "retries": 0}}

    foretold = controller.task("hotpatch", arguments, trusting_host, check=True)
    assert (foretold["changed"], leaks(service)) == (True, [True, True])
    assert not trusting_host.path(rf"C:\ProgramData\hotpatch.windows\store\{fix.sha256}").exists()

    applied = controller.task("hotpatch", arguments, trusting_host)
    assert "failed" not in applied, applied
    assert applied["changed"] is True
    assert [row["verdict"] for row in applied["processes"]] == ["applied"]
    assert applied["processes"][0]["pid"] == pid == service.pid()
    assert leaks(service) == [False, False]
    assert foretold["diff"]["after"] == applied["diff"]["after"]

    again = controller.task("hotpatch", arguments, trusting_host)
    assert (again["changed"], again["processes"][0]["verdict"]) == (False, "already_applied")

    back = controller.task("hotpatch", {"state": "reverted", "payload_id": fix.id}, trusting_host)
    assert back["changed"] is True
    assert (leaks(service), service.pid()) == ([True, True], pid)
    assert controller.task("hotpatch", {"state": "reverted", "payload_id": fix.id}, trusting_host)["changed"] is False


def test_a_probe_that_fails_afterwards_brings_the_old_code_back(
    trusting_host: Host, service: OrdersService, controller: Controller, fix: Fix
) -> None:
    # What the vulnerable service answers and the fixed one does not: the fix itself is the regression here.
    exploit = f"{service.url}/notes/-1"
    result = controller.task(
        "hotpatch", {"src": str(fix.path), "probe": {"url": exploit, "contains": "override code", "retries": 0}}, trusting_host
    )
    assert result["error"]["code"] == "probe_failed_after"
    assert [row["verdict"] for row in result["apply"]["processes"]] == ["applied"]
    assert [row["verdict"] for row in result["revert"]["processes"]] == ["reverted"]
    assert result["changed"] is False
    assert leaks(service) == [True, True]


def test_staging_applies_nothing_and_a_staged_payload_is_named_by_its_hash(
    trusting_host: Host, service: OrdersService, controller: Controller, fix: Fix
) -> None:
    staged = controller.task("stage", {"files": [{"src": str(fix.path)}]}, trusting_host)
    assert staged["objects"] == [{"sha256": fix.sha256, "size": fix.path.stat().st_size, "changed": True}]
    assert trusting_host.path(rf"C:\ProgramData\hotpatch.windows\store\{fix.sha256}").read_bytes() == fix.path.read_bytes()
    assert leaks(service) == [True, True]
    assert controller.task("hotpatch", {"sha256": fix.sha256}, trusting_host)["changed"] is True
    in_use = controller.task("stage", {"state": "absent", "files": [{"sha256": fix.sha256}]}, trusting_host)
    assert in_use["error"]["code"] == "store_object_in_use"
    assert leaks(service) == [False, False]


def test_without_a_resident_agent_the_fix_goes_in_and_nothing_stays_behind(
    host: Host, controller: Controller, fix: Fix, tmp_path: Path
) -> None:
    del tmp_path
    service = host.install_target()
    transient = {"hotpatch_windows_agent_mode": "transient"}
    # Trust belongs to the agent's folder; a fleet without residents keeps it there all the same.
    play = [
        {
            "name": "play",
            "hosts": "all",
            "gather_facts": False,
            "tasks": [{"name": "apply", "hotpatch.windows.hotpatch": {"src": str(fix.path)}}],
        }
    ]
    outcome = controller.play(play, [host], host_variables={host.name: transient})
    assert outcome.result("apply")["error"]["code"] == "payload_key_unknown"
    assert leaks(service) == [True, True]
    assert list(host.drive_c.glob("users/*/Temp/hotpatch-*")) == []
