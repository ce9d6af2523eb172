# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does the registry of a host say about its product, level and protection, and what does a boot change in it?"""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.hive import Hive
from lab.spec import HostPaths, HostSpec

CURRENT_VERSION = r"Software\Microsoft\Windows NT\CurrentVersion"
SERVICING = r"Software\Microsoft\Windows\CurrentVersion\Component Based Servicing"
PACKAGES = SERVICING + r"\Packages"
REBOOT_PENDING = SERVICING + r"\RebootPending"
LAB = r"Software\hotpatch.windows\Lab"
PENDING = LAB + r"\Pending"
PENDING_FILES = PENDING + r"\Files"
CONTROL = r"System\CurrentControlSet\Control"
DEVICE_GUARD = CONTROL + r"\DeviceGuard"
MEMORY_MANAGEMENT = CONTROL + r"\Session Manager\Memory Management"
HOTPATCH_PACKAGE = CURRENT_VERSION + r"\Update\TargetingInfo\DynamicInstalled\Hotpatch.amd64"
ARC_LICENCE = r"Software\Microsoft\Azure Connected Machine Agent\Windows\Licenses\Features\Hotpatch"
INSTALLED = 112
"""CurrentState of a package that is installed (CBS: 0x70)."""


def package_key(kb: str) -> str:
    """The key under which component based servicing lists an update."""
    return rf"{PACKAGES}\Package_for_{kb}~31bf3856ad364e35~amd64~~10.0.1.0"


def _write_product(hive: Hive, spec: HostSpec) -> None:
    facts: dict[str, int | str] = {
        "ProductName": spec.product,
        "CurrentBuild": str(spec.build),
        "CurrentBuildNumber": str(spec.build),
        "CurrentMajorVersionNumber": 10,
        "CurrentMinorVersionNumber": 0,
        "UBR": spec.ubr,
        "EditionID": spec.edition,
        "InstallationType": spec.installation_type,
        "DisplayVersion": spec.display_version,
    }
    for name, value in facts.items():
        hive.set(CURRENT_VERSION, name, value)
    for kb in spec.updates:
        hive.set(package_key(kb), "CurrentState", INSTALLED)


def _write_name(hive: Hive, name: str) -> None:
    for key in ("ComputerName", "ActiveComputerName"):
        hive.set(rf"{CONTROL}\ComputerName\{key}", "ComputerName", name.upper())
    hive.set(r"System\CurrentControlSet\Services\Tcpip\Parameters", "Hostname", name.lower())


def _write_protection(hive: Hive, spec: HostSpec) -> None:
    hive.set(LAB, "VbsStatus", spec.vbs)
    hive.set(LAB, "SecureBoot", spec.secure_boot)
    if spec.vbs != "off":
        hive.set(DEVICE_GUARD, "EnableVirtualizationBasedSecurity", 1)
    if spec.enrolled:
        hive.set(MEMORY_MANAGEMENT, "HotPatchTableSize", 0x1000)
        hive.set(HOTPATCH_PACKAGE, "Name", "Hotpatch Enrollment Package")
        hive.set(HOTPATCH_PACKAGE, "Version", "10.0.20348.1129")
    hive.set(LAB, "ArcStatus", "connected" if spec.arc_connected else "absent")
    if spec.arc_connected:
        hive.set(ARC_LICENCE, "Subscription", 1)


def write_facts(prefix: Path, spec: HostSpec) -> None:
    """Makes a fresh clone the host that ``spec`` describes. Only while nothing of the prefix runs."""
    hive = Hive(prefix / "system.reg")
    _write_product(hive, spec)
    _write_name(hive, spec.name)
    _write_protection(hive, spec)
    hive.save()
    user = Hive(prefix / "user.reg")
    # Without this Wine puts the name of the Linux machine into the registry at every boot.
    user.set(r"Software\Wine\Network", "UseDnsComputerName", "N")
    user.save()


def boot_step(paths: HostPaths) -> list[str]:
    """What Windows' servicing does between the loader and the services: puts pending files in place and the level into force.

    Returns what was done, in words, for the host's log.
    """
    hive = Hive(paths.prefix / "system.reg")
    done = _place_pending_files(hive, paths) + _promote_level(hive)
    if hive.has_key(REBOOT_PENDING):
        hive.delete_key(REBOOT_PENDING)
        done.append("cleared RebootPending")
    if hive.has_key(PENDING):
        hive.delete_key(PENDING)
    if done:
        hive.save()
    return done


def _place_pending_files(hive: Hive, paths: HostPaths) -> list[str]:
    """PENDING_FILES maps each staged file to its place: a file in use can only be replaced between two boots."""
    done = []
    for staged, target in hive.values(PENDING_FILES).items():
        source = host_path(paths.drive_c, staged)
        place = host_path(paths.drive_c, str(target))
        if not source.is_file():
            done.append(f"pending file {staged} is missing, {target} stays as it is")
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        # Removed first: the file may be a hard link of the template's.
        place.unlink(missing_ok=True)
        shutil.copyfile(source, place)
        source.unlink()
        done.append(f"placed {target}")
    return done


def _promote_level(hive: Hive) -> list[str]:
    done = []
    ubr = hive.get(PENDING, "UBR")
    if ubr is not None:
        hive.set(CURRENT_VERSION, "UBR", int(ubr))
        done.append(f"level {hive.get(CURRENT_VERSION, 'CurrentBuild')}.{ubr}")
    kb = hive.get(PENDING, "KB")
    if kb is not None:
        hive.set(package_key(str(kb)), "CurrentState", INSTALLED)
        done.append(f"installed {kb}")
    return done


def host_path(drive_c: Path, path: str) -> Path:
    r"""The Linux path of a path such as ``C:\ProgramData\x``. Existing parts are matched without regard to case, as Windows does."""
    drive, _, rest = path.replace("/", "\\").partition("\\")
    if drive.upper() != "C:":
        raise ValueError(f"{path!r} is not below C:\\")
    place = drive_c
    for part in [part for part in rest.split("\\") if part]:
        if part == "..":
            raise ValueError(f"{path!r} leaves its folder")
        place = _existing(place, part)
    return place


def _existing(folder: Path, name: str) -> Path:
    exact = folder / name
    if exact.exists() or not folder.is_dir():
        return exact
    return next((entry for entry in folder.iterdir() if entry.name.lower() == name.lower()), exact)
