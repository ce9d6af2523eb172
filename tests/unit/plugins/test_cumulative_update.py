# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installing an update: in which order, when it reboots, and when the level counts as proven."""

from __future__ import annotations

import hashlib
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.hotpatch.windows.plugins.action.cumulative_update import ActionModule
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent import jobs, reboot
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

from .fakes import FakeHost, Json, run_action

PACKAGE = b"package"
SHA = hashlib.sha256(PACKAGE).hexdigest()
APRIL, APRIL_UBR = "KB5082063", 32690


class Windows(FakeHost):
    """A host that installs, reboots, and is on the new level afterwards."""

    def __init__(self, programs: set[str], *, ubr: int = 32230, pending: bool = False, needs_reboot: bool = True) -> None:
        super().__init__(programs=programs)
        self.ubr, self.installed, self.boot = ubr, {"KB5073379"}, 1
        self.pending, self.needs_reboot = pending, needs_reboot
        self.waiting: tuple[str, int] | None = None
        self.reaches: tuple[str, int] = (APRIL, APRIL_UBR)
        self.lost_polls = 0
        self.handlers = {
            "host_info": self._info,
            "store_query": self._query,
            "package_install": self._install,
            "job_status": self._status,
            "boot_id": lambda _a, _d: {"boot_id": f"boot-{self.boot}"},
            "reboot": self._reboot,
        }

    def _info(self, _arguments: Json, _dry: bool) -> Json:
        return {
            "host": {
                "product_name": "Windows Server 2025 Datacenter",
                "edition_id": "ServerDatacenter",
                "installation_type": "Server Core",
                "current_build": 26100,
                "ubr": self.ubr,
                "architecture": "x64",
            },
            "updates": [{"kb": kb, "state": "installed", "installed": None} for kb in sorted(self.installed)],
            "enrollment": {"EnableVirtualizationBasedSecurity": 1, "HotPatchTableSize": 4096, "ArcSubscription": 1},
            "vbs": {"status": "running"},
            "secure_boot": "on",
            "arc": {"installed": True, "connected": True},
            "pending_reboot": {"required": self.pending, "reasons": ["component_based_servicing"] if self.pending else []},
            "boot": {"id": f"boot-{self.boot}", "started": 0},
            "payloads": [],
        }

    def _query(self, arguments: Json, _dry: bool) -> Json:
        there = {sha256 for sha256, _ in self.put}
        return {"present": {sha256: 7 for sha256 in arguments["objects"] if sha256 in there}, "free_bytes": 1}

    def _install(self, _arguments: Json, dry: bool) -> Json:
        if self.waiting is not None:
            return {"job": "job-1", "changed": False}
        if not dry:
            if self.needs_reboot:
                self.waiting, self.pending = self.reaches, True
            else:
                self.installed.add(self.reaches[0])
                self.ubr = self.reaches[1]
        return {"job": "job-1", "changed": True}

    def _status(self, _arguments: Json, _dry: bool) -> Json:
        if self.lost_polls:
            self.lost_polls -= 1
            raise AnsibleConnectionFailure("lost")
        status = {"job": "job-1", "kind": "package", "phase": "finish", "percent": 100, "exit_code": 0, "error": None}
        return {**status, "state": "succeeded", "reboot_required": self.needs_reboot}

    def _reboot(self, arguments: Json, _dry: bool) -> Json:
        if arguments["boot_id"] != f"boot-{self.boot}":
            return {"boot_id": f"boot-{self.boot}", "changed": False}
        old, self.boot, self.pending = self.boot, self.boot + 1, False
        if self.waiting is not None:
            self.installed.add(self.waiting[0])
            self.ubr, self.waiting = self.waiting[1], None
        return {"boot_id": f"boot-{old}", "changed": True}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for function in (jobs.wait_for_job, reboot.reboot_and_wait):
        defaults = t.cast(dict[str, t.Any], function.__kwdefaults__)
        monkeypatch.setitem(defaults, "sleep", lambda _seconds: None)


@pytest.fixture
def windows(host: FakeHost) -> Windows:
    return Windows(host.programs)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "kb.msu"
    path.write_bytes(PACKAGE)
    return path


def update(windows: Windows, agent: Path, package: Path, *, check: bool = False, **options: t.Any) -> Json:
    arguments = {"kb": APRIL, "src": str(package), "sha256": SHA, "date": "2026-04-20", **options}
    return run_action(ActionModule, windows, arguments, agent=agent, check=check)


def test_installed_rebooted_proven(windows: Windows, agent: Path, package: Path) -> None:
    result = update(windows, agent, package, reboot="if_required")
    assert "failed" not in result, result
    assert result["level"] == {"before": "26100.32230", "after": "26100.32690"}
    assert (result["changed"], result["rebooted"], result["reboot_required"]) == (True, True, False)
    assert windows.changes() == ["package_install", "reboot"]


def test_a_second_run_does_nothing(windows: Windows, agent: Path, package: Path) -> None:
    update(windows, agent, package, reboot="if_required")
    before = len(windows.changes())
    result = update(windows, agent, package, reboot="if_required")
    assert (result["changed"], result["rebooted"]) == (False, False)
    assert len(windows.changes()) == before


def test_never_leaves_the_reboot_to_others_and_says_so(windows: Windows, agent: Path, package: Path) -> None:
    first = update(windows, agent, package)
    assert (first["changed"], first["rebooted"], first["reboot_required"]) == (True, False, True)
    second = update(windows, agent, package)
    assert (second["changed"], second["reboot_required"]) == (False, True)
    assert windows.boot == 1


def test_a_later_run_may_do_the_reboot_that_is_left(windows: Windows, agent: Path, package: Path) -> None:
    update(windows, agent, package)
    result = update(windows, agent, package, reboot="if_required")
    assert (result["changed"], result["rebooted"]) == (True, True)
    assert windows.ubr == APRIL_UBR


@pytest.mark.parametrize("wish", ["never", "if_required", "always"])
def test_check_mode_says_what_the_real_run_then_does(windows: Windows, agent: Path, package: Path, wish: str) -> None:
    foretold = update(windows, agent, package, check=True, reboot=wish)
    assert windows.changes() == []
    done = update(windows, agent, package, reboot=wish)
    assert foretold["changed"] == done["changed"]
    if wish == "always":
        assert foretold["rebooted"] == done["rebooted"]


def test_a_hotpatch_is_proven_without_a_reboot(host: FakeHost, agent: Path, package: Path) -> None:
    windows = Windows(host.programs, ubr=32690, needs_reboot=False)
    windows.installed, windows.reaches = {APRIL}, ("KB5087423", 32772)
    result = update(windows, agent, package, kb="KB5087423", date="2026-05-16", reboot="if_required")
    assert "failed" not in result, result
    assert (result["level"]["after"], result["rebooted"]) == ("26100.32772", False)


def test_a_level_that_is_not_reached_is_a_failure_whatever_the_installer_says(windows: Windows, agent: Path, package: Path) -> None:
    windows.reaches = ("KB1111111", 32300)
    result = update(windows, agent, package, reboot="if_required")
    assert result["error"]["code"] == "package_level_not_reached"
    assert result["level"]["after"] == "26100.32300"
    assert (result["changed"], result["rebooted"]) == (True, True)


def test_a_package_off_the_track_is_refused_beforehand(host: FakeHost, agent: Path, package: Path) -> None:
    windows = Windows(host.programs, ubr=32690)
    windows.installed = {APRIL}
    result = update(
        windows, agent, package, kb="KB5087539", date="2026-05-13", policy={"reboot_now": {"critical": False, "exploited": False}}
    )
    assert result["error"]["code"] == "package_wrong_track"
    assert windows.changes() == []
    windows.reaches = ("KB5087539", 32860)
    accepted = update(windows, agent, package, kb="KB5087539", date="2026-05-13", allow_wrong_track=True, reboot="if_required")
    assert accepted["level"]["after"] == "26100.32860"


def test_a_package_for_another_windows_is_refused(windows: Windows, agent: Path, package: Path) -> None:
    result = update(windows, agent, package, kb="KB5082142")
    assert result["error"]["code"] == "package_not_applicable"
    assert windows.changes() == []


def test_somebody_elses_pending_reboot_comes_first(host: FakeHost, agent: Path, package: Path) -> None:
    windows = Windows(host.programs, pending=True)
    refused = update(windows, agent, package)
    assert refused["error"]["code"] == "package_reboot_pending"
    assert windows.changes() == []
    allowed = update(windows, agent, package, reboot="if_required")
    assert windows.changes() == ["reboot", "package_install", "reboot"]
    assert allowed["level"]["after"] == "26100.32690"


def test_a_wrong_hash_is_found_before_the_host_is_asked(windows: Windows, agent: Path, package: Path) -> None:
    result = update(windows, agent, package, sha256="0" * 64)
    assert result["error"]["code"] == "store_hash_mismatch"
    assert windows.runs == []


def test_a_lost_connection_while_polling_is_waited_out(windows: Windows, agent: Path, package: Path) -> None:
    windows.lost_polls = 3
    result = update(windows, agent, package, reboot="if_required")
    assert result["level"]["after"] == "26100.32690"
    assert windows.resets == 3
    assert windows.changes().count("package_install") == 1


def test_the_installers_own_error_arrives_with_its_exit_code(windows: Windows, agent: Path, package: Path) -> None:
    def failing(_arguments: Json, _dry: bool) -> Json:
        error = HotpatchError("package_damaged", "The cabinet cannot be read.").as_dict()
        status = {"job": "job-1", "phase": "expand", "percent": None, "exit_code": 13, "reboot_required": False}
        return {**status, "state": "failed", "error": error}

    windows.handlers["job_status"] = failing
    result = update(windows, agent, package, reboot="if_required")
    assert result["error"]["code"] == "package_damaged"
    assert result["error"]["details"]["exit_code"] == 13
    assert windows.boot == 1


def test_a_host_that_does_not_come_back_is_said(windows: Windows, agent: Path, package: Path) -> None:
    windows.handlers["boot_id"] = lambda _a, _d: {"boot_id": "boot-1"}
    result = update(windows, agent, package, reboot="if_required", reboot_timeout=0, reboot_delay=0)
    assert result["error"]["code"] == "host_rebooting"


@pytest.mark.parametrize("bad", [{"kb": "5082063"}, {"build": "26100"}, {"sha256": "abc"}, {"date": "soon"}, {"reboot": "maybe"}])
def test_bad_arguments_change_nothing(windows: Windows, agent: Path, package: Path, bad: Json) -> None:
    result = update(windows, agent, package, **bad)
    assert result["error"]["code"] == "argument_invalid"
    assert windows.changes() == []
