# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Can a host hotpatch, and is it enrolled? Every prerequisite with its verdict and with what meets it.

Microsoft's requirements as of May 2026: Windows Server 2022 only as Datacenter: Azure Edition; Windows Server 2025 Standard and Datacenter
through Azure Arc, Datacenter: Azure Edition without it; from the released build on; x64 with UEFI and Secure Boot; VBS *running*.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .facts import Facts
from .model import Build, Product

_AZURE_EDITIONS: t.Final = frozenset({"ServerTurbine", "ServerTurbineCor"})
_ARC_EDITIONS: t.Final = frozenset({"ServerStandard", "ServerStandardCor", "ServerDatacenter", "ServerDatacenterCor"})
_RELEASED: t.Final = {"windows_server_2025": Build(26100, 1742), "windows_server_2022": Build(20348, 0)}
_PREREQUISITE_KB: t.Final = {"windows_server_2022": "KB5003508"}


@dataclass(frozen=True)
class Prerequisite:
    """One condition. ``met`` is None when the host did not report it, which counts as not met; ``remedy`` is empty when it is met."""

    code: str
    met: bool | None
    text: str
    remedy: str = ""


def is_azure_edition(facts: Facts) -> bool:
    """Datacenter: Azure Edition, by its edition id or its name."""
    return facts.edition_id in _AZURE_EDITIONS or "azure edition" in facts.product_name.lower()


def eligibility(facts: Facts, product: Product) -> tuple[Prerequisite, ...]:
    """What the host must be before it can be enrolled."""
    rows = [_edition(facts, product), _build_floor(facts, product), _architecture(facts), _secure_boot(facts), _vbs_running(facts)]
    if product.key == "windows_server_2025" and not is_azure_edition(facts):
        rows.append(_arc(facts))
    return tuple(rows)


def enrollment(facts: Facts, product: Product) -> tuple[Prerequisite, ...]:
    """What enrolment sets on the host. hotpatch.windows.enrollment sets it, or says who must."""
    rows = [_vbs_configured(facts), _table_size(facts), _marker(facts, product)]
    if product.key in _PREREQUISITE_KB:
        rows.append(_prerequisite_package(facts, _PREREQUISITE_KB[product.key]))
    return tuple(rows)


def unmet(rows: tuple[Prerequisite, ...]) -> list[str]:
    """The codes of the conditions that are not met or not known."""
    return [row.code for row in rows if row.met is not True]


def _row(code: str, met: bool | None, text: str, remedy: str) -> Prerequisite:
    return Prerequisite(code, met, text, "" if met else remedy)


# -- eligibility -------------------------------------------------------------------------------------------------------------


def _edition(facts: Facts, product: Product) -> Prerequisite:
    met = is_azure_edition(facts) or (product.key == "windows_server_2025" and facts.edition_id in _ARC_EDITIONS)
    needed = "Datacenter: Azure Edition" if product.key == "windows_server_2022" else "Standard, Datacenter or Datacenter: Azure Edition"
    return _row(
        "edition",
        met if facts.edition_id or facts.product_name else None,
        f"{product.title} hotpatches as {needed}; this host is {facts.product_name or 'unknown'} ({facts.edition_id or 'no edition id'}).",
        f"Move the workload to {product.title} {needed}, or keep the host on cumulative updates.",
    )


def _build_floor(facts: Facts, product: Product) -> Prerequisite:
    floor = _RELEASED[product.key]
    return _row(
        "released_build",
        None if facts.build is None else facts.build >= floor,
        f"The released build {floor} or later is needed; this host has {facts.build or 'an unknown build'}.",
        "Install the released Windows Server; preview builds cannot be enrolled.",
    )


def _architecture(facts: Facts) -> Prerequisite:
    met = facts.architecture == "x64" if facts.architecture else None
    return _row(
        "architecture", met, f"Hotpatching of servers is for x64; this host is {facts.architecture or 'unknown'}.", "Use an x64 host."
    )


def _secure_boot(facts: Facts) -> Prerequisite:
    met = {"on": True, "off": False, "unsupported": False}.get(facts.secure_boot)
    remedy = {
        "off": "Turn Secure Boot on in the firmware, or in the virtual machine's settings.",
        "unsupported": "The host starts with BIOS: convert it to UEFI (on Hyper-V: generation 2), then turn Secure Boot on.",
    }.get(facts.secure_boot, "Find out why the host does not report Secure Boot.")
    return _row("secure_boot", met, f"UEFI with Secure Boot is needed; Secure Boot is {facts.secure_boot}.", remedy)


def _vbs_running(facts: Facts) -> Prerequisite:
    # Configured is not enough: only status 2 (running) of Win32_DeviceGuard lets Windows hotpatch.
    met = {"running": True, "enabled": False, "off": False}.get(facts.vbs)
    remedy = {
        "off": "Run hotpatch.windows.enrollment, which configures virtualization-based security, then reboot.",
        "enabled": "Reboot. If it is still not running, turn on virtualization extensions (in a virtual machine: nested) and the IOMMU.",
    }.get(facts.vbs, "Find out why the host does not report Win32_DeviceGuard.")
    return _row("vbs_running", met, f"Virtualization-based security must be running; it is {facts.vbs}.", remedy)


def _arc(facts: Facts) -> Prerequisite:
    state = {True: "connected", False: "not connected"}.get(t.cast(bool, facts.arc_connected), "unknown")
    return _row(
        "arc_connected",
        facts.arc_connected,
        f"Azure Arc must be connected; it is {state}.",
        "Install and connect the Azure Connected Machine agent, and enable hotpatch in the machine's Arc licence profile.",
    )


# -- enrolment ----------------------------------------------------------------------------------------------------------------


def _vbs_configured(facts: Facts) -> Prerequisite:
    value = facts.enrollment.vbs_configured
    return _row(
        "vbs_configured",
        value == 1,
        f"EnableVirtualizationBasedSecurity must be 1; it is {_shown(value)}.",
        "Run hotpatch.windows.enrollment, then reboot.",
    )


def _table_size(facts: Facts) -> Prerequisite:
    value = facts.enrollment.table_size
    return _row(
        "hotpatch_table_size",
        bool(value),
        f"HotPatchTableSize must be set; it is {_shown(value)}.",
        "Run hotpatch.windows.enrollment, then reboot.",
    )


def _marker(facts: Facts, product: Product) -> Prerequisite:
    values = facts.enrollment
    by_package = bool(values.package_name) or values.allow_rebootless == 1
    if product.key == "windows_server_2025":
        if is_azure_edition(facts):
            return Prerequisite("enrollment_marker", True, "Datacenter: Azure Edition is enrolled without a marker.")
        return _row(
            "enrollment_marker",
            by_package or values.arc_subscription == 1,
            "An Azure Arc hotpatch licence, or the mark of the enrolment package, is needed.",
            "Enable hotpatch in the machine's Arc licence profile, then run hotpatch.windows.enrollment.",
        )
    return _row(
        "enrollment_marker",
        by_package,
        f"The mark of the enrolment package must be there; it is {_shown(values.package_name)}.",
        "Run hotpatch.windows.enrollment.",
    )


def _prerequisite_package(facts: Facts, kb: str) -> Prerequisite:
    # Later cumulative updates hide the package from the list of installed ones, so the mark it leaves counts as well.
    met = kb in facts.installed or bool(facts.enrollment.package_name)
    return _row("prerequisite_package", met, f"{kb} must have been installed once.", f"Install {kb}.")


def _shown(value: object) -> str:
    return "absent" if value is None else repr(value)
