# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What did the services of a host write to the event log?

Wine keeps no event log. RegisterEventSource and ReportEvent say that they are stubs, with their arguments, and then the text of
each entry is printed in a channel that says its level. That stream is kept; its lines begin with the thread that wrote them.
"""

from __future__ import annotations

import re
from pathlib import Path

from lab.spec import Event

CHANNELS = "err+eventlog,warn+eventlog,trace+eventlog,fixme+advapi"
_TEXT = r'"(?P<text>(?:[^"\\]|\\.)*)"'
_LINE = re.compile(
    r"(?P<thread>[0-9a-f]+):(?:"
    r'fixme:advapi:RegisterEventSource[AW] \([^,]*,L?"(?P<source>[^"]*)"\)'
    r"|fixme:[a-z]+:ReportEvent[AW] \([^,]*,0x[0-9a-f]+,0x[0-9a-f]+,0x(?P<event>[0-9a-f]+),"
    rf"|(?P<channel>err|warn|trace):eventlog:ReportEvent[AW] L?{_TEXT})"
)
_LEVELS = {"err": "error", "warn": "warning", "trace": "information"}
_ESCAPE = re.compile(r"\\(?P<code>[0-9a-f]{4}|.)")
_CONTROL = {"n": "\n", "r": "\r", "t": "\t"}
_CODE = 0xFFFF
"""The part of an event's identifier that Event Viewer shows as its id; severity and customer bit are above it."""


def read(path: Path) -> list[Event]:
    """Parses the services' stream; lines that are no event are left out. One string of an entry is one event."""
    if not path.exists():
        return []
    sources: dict[str, str] = {}
    ids: dict[str, int] = {}
    events = []
    for match in _LINE.finditer(path.read_text(encoding="utf-8", errors="replace")):
        thread = match["thread"]
        if match["source"] is not None:
            sources[thread] = match["source"]
        elif match["event"] is not None:
            ids[thread] = int(match["event"], 16) & _CODE
        else:
            events.append(Event(sources.get(thread, ""), ids.get(thread, 0), _LEVELS[match["channel"]], _unescape(match["text"])))
    return events


def _unescape(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        code = match["code"]
        return chr(int(code, 16)) if len(code) == 4 else _CONTROL.get(code, code)

    return _ESCAPE.sub(one, text)
