# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Which registry values enrol this host, and does anything stand in the way?

Pure functions over ``host_info``. Only a missing prerequisite that no value can meet is an obstacle; one that enrolment itself and a
reboot meet (virtualization-based security that does not run yet) is not.
"""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import Facts
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.eligibility import Prerequisite, eligibility, enrollment
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.model import Product, product_of
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

Value = int | str | None

# Microsoft's documented values for Windows Server 2022 Datacenter: Azure Edition; the first two are the platform's own set on both.
_COMMON: t.Final[dict[str, Value]] = {"EnableVirtualizationBasedSecurity": 1, "HotPatchTableSize": 0x1000}
_MARK_2022: t.Final[dict[str, Value]] = {
    "EnrollmentPackageName": "Hotpatch Enrollment Package",
    "EnrollmentPackageVersion": "10.0.20348.1129",
}
# Virtualization-based security stays on: turning it off would weaken the host.
_REMOVED: t.Final = ("HotPatchTableSize", "EnrollmentPackageName", "EnrollmentPackageVersion", "AllowRebootlessUpdates")
_MET_BY_A_REBOOT: t.Final = frozenset({"vbs_running"})
# Read once, when Windows starts.
_READ_AT_BOOT: t.Final = ("EnableVirtualizationBasedSecurity", "HotPatchTableSize")


@dataclass(frozen=True)
class Plan:
    """What to write (None removes), and what stands in the way."""

    product: Product | None
    enroll: bool
    values: dict[str, Value]
    prerequisites: tuple[Prerequisite, ...]
    obstacles: tuple[Prerequisite, ...]

    def written(self, info: Mapping[str, t.Any]) -> bool:
        """Whether the host has all the values already."""
        found = info.get("enrollment") or {}
        return all(found.get(name) == value for name, value in self.values.items())

    def prerequisites_after(self, info: Mapping[str, t.Any], after: Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
        """Every prerequisite as it stands once the values are written."""
        facts = Facts.from_host_info({**info, "enrollment": {**(info.get("enrollment") or {}), **after}})
        return [dataclasses.asdict(row) for row in _rows(facts, self.product)]

    def needs_reboot(self, info: Mapping[str, t.Any], before: Mapping[str, t.Any], after: Mapping[str, t.Any]) -> bool:
        """Whether the enrolment takes effect only after a restart. Leaving takes effect with the next update and needs none."""
        if not self.enroll:
            return False
        written = any(before.get(name) != after.get(name) for name in _READ_AT_BOOT)
        return written or Facts.from_host_info(info).vbs != "running"


def plan_enrollment(info: Mapping[str, t.Any], *, enroll: bool) -> Plan:
    """Decide what to write.

    :raises HotpatchError: ``enrollment_prerequisite`` when the product cannot hotpatch at all.
    """
    facts = Facts.from_host_info(info)
    product = None if facts.build is None else product_of(facts.build, facts.installation_type)
    if not enroll:
        return Plan(product, False, dict.fromkeys(_REMOVED), _rows(facts, product), ())
    if product is None or not product.hotpatch:
        raise HotpatchError(
            "enrollment_prerequisite",
            f"{facts.product_name or 'This Windows'} ({facts.build}) gets no hotpatches from Microsoft.",
            remedy="Keep it on cumulative updates; payloads work without enrolment.",
            details={"unmet": ["product"]},
        )
    values = _COMMON | (_MARK_2022 if product.key == "windows_server_2022" else {})
    kept = facts.enrollment.table_size  # a size that an administrator chose is as good as ours
    if kept:
        values["HotPatchTableSize"] = kept
    obstacles = tuple(row for row in eligibility(facts, product) if row.met is not True and row.code not in _MET_BY_A_REBOOT)
    return Plan(product, True, values, _rows(facts, product), obstacles)


def _rows(facts: Facts, product: Product | None) -> tuple[Prerequisite, ...]:
    if product is None or not product.hotpatch:
        return ()
    return eligibility(facts, product) + enrollment(facts, product)
