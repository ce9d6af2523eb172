# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's process needs to know; kept as JSON in the host's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.spec import HostSpec, Quotas, User


@dataclass(frozen=True)
class HostSettings:
    """A host's description with what the lab added: ports, accounts, certificate."""

    spec: HostSpec
    http_port: int
    https_port: int
    target_port: int
    """Kept for the service of lab.targets."""
    users: tuple[User, ...]
    certificate: str
    """The authority's certificate, for clients."""
    key: str
    """The host's own certificate and key."""

    def save(self, path: Path) -> None:
        """Writes the settings for the host's process (they hold passwords: for the owner only)."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self), indent=1))

    @staticmethod
    def load(path: Path) -> HostSettings:
        """Reads what save wrote."""
        raw = json.loads(path.read_text())
        spec = raw.pop("spec")
        spec["quotas"] = Quotas(**spec["quotas"])
        spec["updates"] = tuple(spec["updates"])
        users = tuple(User(**user) for user in raw.pop("users"))
        return HostSettings(spec=HostSpec(**spec), users=users, **raw)
