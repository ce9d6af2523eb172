# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host's WS-Man endpoint."""

from __future__ import annotations


class Endpoint:
    def __init__(self, settings, machine, log) -> None:
        pass

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def counters(self):
        return {"messages": 0, "received_bytes": 0, "sent_bytes": 0, "connections": 0}
