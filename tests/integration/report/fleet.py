# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A made-up fleet for the report, judged by the real decision with the shipped catalog. The same arguments give the same fleet."""

from __future__ import annotations

import datetime
import random
import typing as t

from ansible_collections.hotpatch.windows.plugins.plugin_utils._catalog_files import shipped_catalog
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import Catalog, Facts, Policy, assess, merge

TODAY: t.Final = datetime.date(2026, 5, 16)
NOW: t.Final = int(datetime.datetime(2026, 5, 16, 22, 10, tzinfo=datetime.UTC).timestamp())

OWN_LIST: t.Final = {
    "schema": 1,
    "fixes": [
        {
            "id": "orders-2026-05",
            "title": "Reads past the end of an order",
            "cves": ["CVE-2026-90001"],
            "severity": "Critical",
            "cvss": 9.8,
            "module": "orders.dll",
            "payload": {"file": "orders-2026-05.hpp", "sha256": "ab" * 32, "sequence": 3},
        }
    ],
}

# Weight, build, UBR, listed packages, and what differs from a healthy enrolled host.
_LEVELS: t.Final[list[tuple[int, int, int, tuple[str, ...], dict[str, t.Any]]]] = [
    (46, 26100, 32772, ("KB5082063", "KB5087423"), {}),
    (18, 26100, 32690, ("KB5082063",), {}),
    (9, 20348, 5074, ("KB5082142", "KB5087424"), {}),
    (5, 20348, 5020, ("KB5082142",), {}),
    (6, 26100, 32463, ("KB5073379", "KB5078736"), {}),
    (3, 26100, 32522, ("KB5078740",), {}),
    (3, 26100, 32690, ("KB5082063",), {"vbs": {"status": "off", "source": "Win32_DeviceGuard"}}),
    (2, 26100, 32690, ("KB5082063",), {"secure_boot": "unsupported"}),
    (2, 26100, 32772, ("KB5082063", "KB5087423"), {"arc": {"installed": True, "connected": False, "version": "1.40"}}),
    (2, 26100, 32690, ("KB5082063",), {"enrollment": {"EnableVirtualizationBasedSecurity": 1}}),
    (1, 26100, 6905, (), {}),
    (1, 0, 0, (), {}),
]


def fleet(count: int, seed: int = 7) -> dict[str, t.Any]:
    """The data of ``count`` hosts as the report takes it."""
    chance = random.Random(seed)
    catalog = merge([shipped_catalog(), Catalog.from_dict(OWN_LIST)])
    policy = Policy.from_dict({"reboot_now": {"critical": False, "cvss_above": 9.0}})
    weights = [level[0] for level in _LEVELS]
    hosts = [_host(index, chance.choices(_LEVELS, weights)[0], catalog, policy, chance) for index in range(count)]
    return {"title": "Web farm, May 2026", "generated": "2026-05-16T22:10:00+00:00", "hosts": hosts}


def _host(
    index: int, level: tuple[int, int, int, tuple[str, ...], dict[str, t.Any]], catalog: Catalog, policy: Policy, chance: random.Random
) -> dict[str, t.Any]:
    _weight, build, ubr, kbs, changes = level
    name = f"{('web', 'app', 'sql', 'file')[index % 4]}{index + 1:04}"
    ring = "canary" if index % 20 == 0 else "pilot" if index % 5 == 0 else "broad"
    if not build:
        error = {"code": "host_unreachable", "message": "The connection was refused.", "remedy": "", "where": name, "details": {}}
        return {"name": name, "ring": ring, "error": error}
    info = {**host_info(build, ubr, kbs), **changes}
    results = []
    if ubr == 32772 and index % 4 == 1:
        info["payloads"], info["coverage"] = _payloads(index, chance)
        results = [{"step": "payload orders-2026-05", "outcome": "changed", "text": "applied to 2 processes"}]
    if ubr == 32772:
        results.append({"step": "hotpatch KB5087423", "outcome": "changed", "text": "installed, level proven, no reboot"})
    assessment = assess(Facts.from_host_info(info), catalog, policy, TODAY).as_dict()
    return {"name": name, "ring": ring, "info": info, "assessment": assessment, "results": results}


def host_info(build: int, ubr: int, kbs: tuple[str, ...]) -> dict[str, t.Any]:
    """The facts of a healthy, enrolled host on a level."""
    azure = build == 20348
    return {
        "host": {
            "product_name": "Windows Server 2022 Datacenter Azure Edition" if azure else "Windows Server 2025 Datacenter",
            "edition_id": "ServerTurbine" if azure else "ServerDatacenter",
            "installation_type": "Server Core",
            "current_build": build,
            "ubr": ubr,
            "architecture": "x64",
        },
        "updates": [{"kb": kb, "state": "installed", "installed": NOW - 86400} for kb in kbs],
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
        "coverage": [],
    }


def _payloads(index: int, chance: random.Random) -> tuple[list[dict[str, t.Any]], list[dict[str, t.Any]]]:
    image = r"C:\Program Files\Orders\orders.exe"
    processes = [
        {
            "pid": 1000 + index * 7 + number,
            "image": image if number == 0 else r"C:\Program Files\Orders\worker.exe",
            "service": "orders" if number == 0 else None,
            "module": r"C:\Program Files\Orders\orders.dll",
            "state": "applied",
            "since": NOW - 3600 - index,
            "stop_us": round(chance.uniform(8, 60), 1) if index % 3 else 0.0,
        }
        for number in range(2)
    ]
    payload = {"id": "orders-2026-05", "sequence": 3, "sha256": "ab" * 32, "cves": ["CVE-2026-90001"], "state": "in_force"}
    gap = {"payload": "orders-2026-05", "pid": 9000, "image": r"C:\Program Files\Orders\report.exe", "service": None}
    coverage = [{**gap, "code": "target_acg", "remedy": "restart_service"}] if index % 24 == 1 else []
    return [{**payload, "processes": processes}], coverage
