# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Hosts, catalogs and answers for the tests of the decision."""

from __future__ import annotations

import datetime
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hotpatch.windows.plugins.plugin_utils._catalog_files import read_feed_file
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import Assessment, Catalog, Facts, Policy, assess, merge

FIXTURES: t.Final = Path(__file__).parent / "fixtures"
REAL_FEED: t.Final = Path(__file__).resolve().parents[4] / "shared" / "msrc"
LAX: t.Final = {"reboot_now": {"exploited": False, "critical": False}}


def host(build: str = "26100.50000", *kbs: str, **sections: t.Any) -> dict[str, t.Any]:
    """The ``host_info`` of a healthy, enrolled host on a level; ``sections`` replace whole sections, or keys of ``host``."""
    number, ubr = (int(part) for part in build.split("."))
    azure = number == 20348
    info: dict[str, t.Any] = {
        "host": {
            "product_name": "Windows Server 2022 Datacenter Azure Edition" if azure else "Windows Server 2025 Datacenter",
            "edition_id": "ServerTurbine" if azure else "ServerDatacenter",
            "installation_type": "Server Core",
            "current_build": number,
            "ubr": ubr,
            "architecture": "x64",
        },
        "updates": [{"kb": kb, "state": "installed", "installed": 1} for kb in kbs],
        "enrollment": {
            "EnableVirtualizationBasedSecurity": 1,
            "HotPatchTableSize": 4096,
            "EnrollmentPackageName": "Hotpatch Enrollment Package" if azure else None,
            "ArcSubscription": None if azure else 1,
        },
        "vbs": {"status": "running", "source": "Win32_DeviceGuard"},
        "secure_boot": "on",
        "arc": {"installed": not azure, "connected": not azure, "version": "1.40"},
        "pending_reboot": {"required": False, "reasons": []},
        "payloads": [],
    }
    info["host"].update(sections.pop("host", {}))
    return {**info, **sections}


def judged(info: dict[str, t.Any], catalog: Catalog, day: str, policy: dict[str, t.Any] | None = None) -> Assessment:
    """The answer for a host on a day."""
    return assess(Facts.from_host_info(info), catalog, Policy.from_dict(policy or {}), datetime.date.fromisoformat(day))


def codes(answer: Assessment) -> list[str]:
    """The codes of the reasons."""
    return [reason.code for reason in answer.reasons]


def steps(answer: Assessment) -> list[tuple[str, str | None]]:
    """Kind and KB of everything to do, in order."""
    action = answer.next_action
    return [(step.kind.value, step.kb) for step in (action, *action.then)]


def made_up() -> Catalog:
    """April (a baseline) and May (a hotpatch month) of the fixtures."""
    return merge(read_feed_file(FIXTURES / name) for name in ("2030-Apr.xml", "2030-May.xml"))


def real_feed() -> list[Path]:
    """The real documents beside the checkout; skips the test when there are none."""
    files = sorted(REAL_FEED.glob("cvrf-*.xml.xz"))
    if not files:
        pytest.skip(f"the real feed documents are not in {REAL_FEED}")
    return files


def own_list(**content: t.Any) -> Catalog:
    """An own list."""
    return Catalog.from_dict({"schema": 1, **content}, "own list")


def fix(**changes: t.Any) -> dict[str, t.Any]:
    """A fix of the own list, with a payload unless ``refusal`` is given."""
    entry: dict[str, t.Any] = {
        "id": "orders-2030-05",
        "title": "Reads past the end of an order",
        "cves": ["CVE-2030-90001"],
        "severity": "Critical",
        "cvss": 9.8,
        "module": "orders.dll",
        "payload": {"file": "orders.hpp", "sha256": "ab" * 32, "sequence": 3},
        "contained_in": ["KB9000601"],
    }
    if "refusal" in changes:
        entry["payload"] = None
    return {**entry, **changes}
