# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Update packages of the lab are installed by Windows' installer, and broken ones are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import Host, msu, targets

CURRENT_VERSION = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
SERVICING = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing"
PACKAGE = SERVICING + r"\Packages\Package_for_KB5094126~31bf3856ad364e35~amd64~~10.0.1.0"
PENDING = r"HKLM\SOFTWARE\hotpatch.windows\Lab\Pending"
FILES = {r"C:\Program Files\Orders\orders.dll": b"new code", r"C:\windows\system32\drivers\etc\orders.dll": b"same name, other place"}
REBOOT_REQUIRED = 3010
ALREADY_INSTALLED = 0x00240006


def install(host: Host, package: Path, *options: str) -> int:
    host.path(r"C:\update.msu").write_bytes(package.read_bytes())
    arguments = options or ("/quiet", "/norestart")
    return host.run([r"C:\windows\system32\wusa.exe", r"C:\update.msu", *arguments], timeout=180).returncode


def contents(host: Host) -> dict[str, bytes | None]:
    return {name: host.path(name).read_bytes() if host.path(name).exists() else None for name in FILES}


def test_a_cumulative_update_takes_effect_at_the_next_boot(host: Host, tmp_path: Path) -> None:
    package = msu.build(tmp_path / "lcu.msu", kb="KB5094126", ubr=32995, files=FILES)
    assert install(host, package) == REBOOT_REQUIRED
    assert host.registry_get(CURRENT_VERSION, "UBR") == 32690
    assert host.registry_get(PACKAGE, "CurrentState") == 96
    assert set(contents(host).values()) == {None}
    host.reboot()
    assert host.registry_get(CURRENT_VERSION, "UBR") == 32995
    assert host.registry_get(PACKAGE, "CurrentState") == 112
    assert contents(host) == FILES
    assert host.registry_get(PENDING, "KB") is None
    assert install(host, package) == ALREADY_INSTALLED


def test_an_update_waits_for_the_boot_even_after_a_power_cut(host: Host, tmp_path: Path) -> None:
    package = msu.build(tmp_path / "lcu.msu", kb="KB5094126", ubr=32995, files=FILES)
    assert install(host, package) == REBOOT_REQUIRED
    host.power_cut()
    host.up()
    assert host.registry_get(CURRENT_VERSION, "UBR") == 32995
    assert contents(host) == FILES


def test_an_update_replaces_the_dll_of_a_running_service(host: Host, tmp_path: Path) -> None:
    service = host.install_target("v1")
    old, new = host.path(service.dll).read_bytes(), targets.build("v2").dll.read_bytes()
    assert old != new
    package = msu.build(tmp_path / "lcu.msu", kb="KB5094126", ubr=32995, files={service.dll: new})
    assert install(host, package) == REBOOT_REQUIRED
    assert host.path(service.dll).read_bytes() == old
    exploit = targets.EXPLOITS[0]
    assert exploit.proves(service.get(exploit.path)[1])
    host.reboot()
    assert host.path(service.dll).read_bytes() == new
    assert not exploit.proves(service.get(exploit.path)[1])


def test_a_hotpatch_takes_effect_at_once(host: Host, tmp_path: Path) -> None:
    package = msu.build(tmp_path / "hotpatch.msu", kb="KB5094126", ubr=32995, files=FILES, reboot=False)
    assert install(host, package) == 0
    assert host.registry_get(CURRENT_VERSION, "UBR") == 32995
    assert host.registry_get(PACKAGE, "CurrentState") == 112
    assert contents(host) == FILES
    assert install(host, package) == ALREADY_INSTALLED
    host.reboot()
    assert host.registry_get(CURRENT_VERSION, "UBR") == 32995


def test_without_norestart_the_host_reboots(host: Host, tmp_path: Path) -> None:
    package = msu.build(tmp_path / "lcu.msu", kb="KB5094126", ubr=32995)
    assert install(host, package, "/quiet") == 1641
    host.wait_for_boot(2)
    assert host.registry_get(CURRENT_VERSION, "UBR") == 32995


@pytest.mark.parametrize("damage", list(msu.Damage))
def test_a_damaged_package_changes_nothing(shared_host: Host, tmp_path: Path, damage: msu.Damage) -> None:
    package = msu.build_damaged(tmp_path / "bad.msu", damage, kb="KB5094126", ubr=32995)
    assert install(shared_host, package) == 1
    assert shared_host.registry_get(CURRENT_VERSION, "UBR") == 32690
    assert shared_host.registry_get(PACKAGE, "CurrentState") is None
    assert shared_host.registry_get(PENDING, "KB") is None


def test_a_package_that_does_not_exist_is_an_error(shared_host: Host) -> None:
    assert shared_host.run([r"C:\windows\system32\wusa.exe", r"C:\nothing.msu", "/quiet", "/norestart"]).returncode != 0
