# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What does the decision know of a host? The agent's ``host_info``, reduced to what is judged."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from .model import Build

_SERVICING: t.Final = ("component_based_servicing", "windows_update")
"""Pending-reboot reasons that stop Windows from installing more. Renamed files and computers do not."""


@dataclass(frozen=True)
class PayloadInForce:
    """A payload that the host reports."""

    id: str
    sequence: int
    cves: frozenset[str]
    in_force: bool


@dataclass(frozen=True)
class Enrollment:
    """The registry values of enrolment; None when absent."""

    vbs_configured: int | None = None
    table_size: int | None = None
    package_name: str | None = None
    allow_rebootless: int | None = None
    arc_subscription: int | None = None


@dataclass(frozen=True)
class Facts:
    """A host's facts. Whatever the host did not report is None, empty or ``unknown``, and never counts as met."""

    build: Build | None = None
    product_name: str = ""
    edition_id: str = ""
    installation_type: str = ""
    architecture: str = ""
    installed: frozenset[str] = frozenset()
    enrollment: Enrollment = Enrollment()
    vbs: str = "unknown"
    secure_boot: str = "unknown"
    arc_connected: bool | None = None
    pending: tuple[str, ...] = ()
    payloads: tuple[PayloadInForce, ...] = ()

    @classmethod
    def from_host_info(cls, info: Mapping[str, t.Any]) -> Facts:
        """From the sections of the agent's ``host_info`` (docs/protocol.md); unknown sections are ignored."""
        host = _mapping(info, "host")
        arc = _mapping(info, "arc")
        build, ubr = host.get("current_build"), host.get("ubr")
        return cls(
            build=Build(build, ubr) if isinstance(build, int) and isinstance(ubr, int) else None,
            product_name=str(host.get("product_name") or ""),
            edition_id=str(host.get("edition_id") or ""),
            installation_type=str(host.get("installation_type") or ""),
            architecture=str(host.get("architecture") or ""),
            installed=frozenset(str(update["kb"]) for update in _list(info, "updates") if update.get("state") == "installed"),
            enrollment=_enrollment(_mapping(info, "enrollment")),
            vbs=str(_mapping(info, "vbs").get("status") or "unknown"),
            secure_boot=str(info.get("secure_boot") or "unknown"),
            arc_connected=arc.get("connected") if isinstance(arc.get("connected"), bool) else None,
            pending=tuple(reason for reason in _mapping(info, "pending_reboot").get("reasons") or () if reason in _SERVICING),
            payloads=tuple(_payload(payload) for payload in _list(info, "payloads")),
        )


def _mapping(info: Mapping[str, t.Any], key: str) -> Mapping[str, t.Any]:
    value = info.get(key)
    return value if isinstance(value, Mapping) else {}


def _list(info: Mapping[str, t.Any], key: str) -> list[Mapping[str, t.Any]]:
    value = info.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def _enrollment(values: Mapping[str, t.Any]) -> Enrollment:
    return Enrollment(
        vbs_configured=values.get("EnableVirtualizationBasedSecurity"),
        table_size=values.get("HotPatchTableSize"),
        package_name=values.get("EnrollmentPackageName"),
        allow_rebootless=values.get("AllowRebootlessUpdates"),
        arc_subscription=values.get("ArcSubscription"),
    )


def _payload(payload: Mapping[str, t.Any]) -> PayloadInForce:
    return PayloadInForce(
        id=str(payload.get("id")),
        sequence=int(payload.get("sequence") or 0),
        cves=frozenset(payload.get("cves") or ()),
        in_force=payload.get("state") == "in_force",
    )
