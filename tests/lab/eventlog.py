# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What did the services of a host write to the event log?

Wine keeps no event log: ReportEvent prints the text of each entry on standard error, in a channel that says its level, and
that stream is kept. Source and event id are not printed; they are known only where the text names them.
"""

from __future__ import annotations

import re
from pathlib import Path

from lab.spec import Event

CHANNELS = "err+eventlog,warn+eventlog,trace+eventlog"
_LINE = re.compile(r'(?P<channel>err|warn|trace):eventlog:ReportEvent[AW] (?:L)?"(?P<text>(?:[^"\\]|\\.)*)"')
_LEVELS = {"err": "error", "warn": "warning", "trace": "information"}
_ESCAPE = re.compile(r"\\(?P<code>[0-9a-f]{4}|.)")
_CONTROL = {"n": "\n", "r": "\r", "t": "\t"}


def read(path: Path) -> list[Event]:
    """Parses the services' stream; lines that are no event are left out. One string of an entry is one event."""
    if not path.exists():
        return []
    found = _LINE.finditer(path.read_text(encoding="utf-8", errors="replace"))
    return [Event("", 0, _LEVELS[match["channel"]], _unescape(match["text"])) for match in found]


def _unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match["code"]
        return chr(int(code, 16)) if len(code) == 4 else _CONTROL.get(code, code)

    return _ESCAPE.sub(one, text)
