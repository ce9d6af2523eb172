# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What did the services of a host write to the event log?

Wine keeps no event log: ReportEvent prints each entry on standard error when WINEDEBUG has err+eventlog, and that stream is kept.
"""

from __future__ import annotations

import re
from pathlib import Path

from lab.spec import Event

_LINE = re.compile(r"(?P<kind>err|warn|fixme|trace):eventlog:(?P<function>ReportEvent[AW]) (?P<rest>.*)$")


def read(path: Path) -> list[Event]:
    """Parses a services' stream; lines that are no event are left out."""
    events: list[Event] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        match = _LINE.search(line)
        if match:
            events.append(Event("", 0, match.group("kind"), match.group("rest")))
    return events
