# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real package is installed by the host's own installer, with a real reboot, and the level is proven."""

from __future__ import annotations

import hashlib
import http.server
import threading
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import msu
from lab.host import Host
from lab.pytest_plugin import MakeHost

from .controller import Controller, Json

pytestmark = pytest.mark.lab
APRIL, APRIL_UBR = "KB5082063", 32690
LEVEL = (r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion", "UBR")


@pytest.fixture
def behind(make_host: MakeHost) -> Host:
    host = make_host(ubr=32230, updates=("KB5073379",), enrolled=True)
    host.install_agent()
    return host


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return msu.build(tmp_path / "kb.msu", kb=APRIL, ubr=APRIL_UBR, files={r"C:\windows\fixed.txt": b"fixed"})


def arguments(package: Path, **options: object) -> Json:
    sha256 = hashlib.sha256(package.read_bytes()).hexdigest()
    return {"kb": APRIL, "sha256": sha256, "date": "2026-04-20", "poll_interval": 1, **options}


def test_installed_rebooted_and_proven_once(behind: Host, controller: Controller, package: Path) -> None:
    wanted = arguments(package, src=str(package), reboot="if_required", reboot_timeout=600)
    foretold = controller.task("cumulative_update", wanted, behind, check=True)
    assert (foretold["changed"], behind.registry_get(*LEVEL)) == (True, 32230)
    done = controller.task("cumulative_update", wanted, behind)
    assert "failed" not in done, done
    assert done["level"] == {"before": "26100.32230", "after": "26100.32690"}
    assert (done["rebooted"], done["reboot_required"], behind.boot_count) == (True, False, 2)
    assert behind.registry_get(*LEVEL) == APRIL_UBR
    assert behind.path(r"C:\windows\fixed.txt").read_bytes() == b"fixed"
    again = controller.task("cumulative_update", wanted, behind)
    assert (again["changed"], behind.boot_count) == (False, 2)


def test_never_rebooting_leaves_it_to_others(behind: Host, controller: Controller, package: Path) -> None:
    wanted = arguments(package, src=str(package))
    first = controller.task("cumulative_update", wanted, behind)
    assert (first["changed"], first["reboot_required"], behind.boot_count) == (True, True, 1)
    second = controller.task("cumulative_update", wanted, behind)
    assert (second["changed"], second["reboot_required"]) == (False, True)
    rebooted = controller.task("reboot", {"timeout": 120, "delay": 1}, behind)
    assert (rebooted["rebooted"], behind.boot_count) == (True, 2)
    assert controller.task("cumulative_update", wanted, behind)["changed"] is False
    assert behind.registry_get(*LEVEL) == APRIL_UBR


def test_a_hotpatch_package_needs_no_reboot(make_host: MakeHost, controller: Controller, tmp_path: Path) -> None:
    host = make_host(enrolled=True)
    host.install_agent()
    package = msu.build(tmp_path / "hotpatch.msu", kb="KB5087423", ubr=32772, reboot=False)
    result = controller.task("cumulative_update", arguments(package, src=str(package), kb="KB5087423", date="2026-05-16"), host)
    assert "failed" not in result, result
    assert (result["level"]["after"], result["reboot_required"], host.boot_count) == ("26100.32772", False, 1)


def test_a_package_off_the_track_is_refused(make_host: MakeHost, controller: Controller, tmp_path: Path) -> None:
    host = make_host(enrolled=True)
    host.install_agent()
    package = msu.build(tmp_path / "lcu.msu", kb="KB5087539", ubr=32860)
    calm = {"reboot_now": {"critical": False, "exploited": False}}
    result = controller.task(
        "cumulative_update", arguments(package, src=str(package), kb="KB5087539", date="2026-05-16", policy=calm), host
    )
    assert result["error"]["code"] == "package_wrong_track"
    assert host.registry_get(*LEVEL) == APRIL_UBR


@pytest.fixture
def url(package: Path) -> Iterator[str]:
    """A web server from which the host can pull the package."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: t.Any) -> None:
            super().__init__(*args, directory=str(package.parent))

        def log_message(self, *_args: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/{package.name}"
    server.shutdown()
    server.server_close()


def test_the_host_pulls_the_package_itself(behind: Host, controller: Controller, package: Path, url: str) -> None:
    before = behind.requests.received_bytes
    result = controller.task("stage", {"files": [{"url": url, "sha256": arguments(package)["sha256"]}]}, behind)
    assert result["objects"][0]["size"] == package.stat().st_size
    assert behind.requests.received_bytes - before < 40_000
    installed = controller.task("cumulative_update", arguments(package, reboot="if_required", reboot_timeout=600), behind)
    assert installed["level"]["after"] == "26100.32690"
