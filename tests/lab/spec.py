# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What describes a host of the lab, and what can be read back from one?"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,14}")


@dataclass(frozen=True)
class User:
    """An account that may log on over WS-Man. Only administrators may open a shell, as on Windows."""

    name: str
    password: str
    administrator: bool


ADMINISTRATOR = User("Administrator", "Correct-Horse-1", administrator=True)
PLAIN_USER = User("operator", "Plain-User-1", administrator=False)


@dataclass(frozen=True)
class Quotas:
    """Limits of the WS-Man service; the defaults are those of Windows Server (winrm get winrm/config)."""

    max_envelope_bytes: int = 500 * 1024
    max_shells_per_user: int = 30
    max_processes_per_shell: int = 25
    idle_timeout_s: float = 7200.0
    max_timeout_s: float = 60.0


@dataclass(frozen=True)
class HostSpec:
    """One Windows host as its registry shows it.

    ``name`` is a NetBIOS name (at most 15 characters), ``vbs`` is off, enabled or running, ``secure_boot`` is on, off or
    unsupported, ``updates`` are the KBs that component based servicing lists as installed.
    """

    name: str
    product: str = "Windows Server 2025 Datacenter"
    edition: str = "ServerDatacenter"
    build: int = 26100
    ubr: int = 32690
    updates: tuple[str, ...] = ("KB5082063",)
    vbs: str = "running"
    secure_boot: str = "on"
    arc_connected: bool = True
    enrolled: bool = False
    display_version: str = "24H2"
    installation_type: str = "Server"
    quotas: Quotas = field(default_factory=Quotas)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no NetBIOS computer name (a letter, then up to 14 letters, digits or hyphens)")
        if self.vbs not in ("off", "enabled", "running"):
            raise ValueError(f"vbs is off, enabled or running, not {self.vbs!r}")
        if self.secure_boot not in ("on", "off", "unsupported"):
            raise ValueError(f"secure_boot is on, off or unsupported, not {self.secure_boot!r}")


@dataclass(frozen=True)
class Process:
    """A process of a host: ``pid`` as Windows counts, ``linux_pid`` of the same process (None when it could not be told)."""

    pid: int
    parent: int
    image: str
    threads: int
    linux_pid: int | None


@dataclass(frozen=True)
class Event:
    """One entry that a service wrote to the event log. ``level`` is error, warning, information, success or audit."""

    source: str
    event_id: int
    level: str
    text: str


@dataclass(frozen=True)
class RequestCounters:
    """What passed through a host's WS-Man endpoint since its creation (or the last reset): messages and body bytes."""

    messages: int
    received_bytes: int
    sent_bytes: int
    connections: int


@dataclass(frozen=True)
class HostPaths:
    """Where the files of one host lie, all below one folder."""

    folder: Path

    @property
    def prefix(self) -> Path:
        """The Wine prefix."""
        return self.folder / "prefix"

    @property
    def drive_c(self) -> Path:
        """The host's C:\\ as a Linux folder."""
        return self.prefix / "drive_c"

    @property
    def settings(self) -> Path:
        """What the host's process was started with, as JSON."""
        return self.folder / "host.json"

    @property
    def log(self) -> Path:
        """The life of the host as its process saw it."""
        return self.folder / "host.log"

    @property
    def services_log(self) -> Path:
        """Standard error of the host's services: also where the event log comes from."""
        return self.folder / "services.log"

    @property
    def spool(self) -> Path:
        """Specifications and results of single runs, inside C:\\, so that the host sees them."""
        return self.drive_c / "lab" / "run"
