# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows hosts on Linux for tests and for the demo; README.md says how."""

from __future__ import annotations

from lab.host import Host
from lab.lab import Lab
from lab.spec import Event, HostSpec, Process, Quotas, RequestCounters, User
from lab.wine import LabError

__all__ = ["Event", "Host", "HostSpec", "Lab", "LabError", "Process", "Quotas", "RequestCounters", "User"]
