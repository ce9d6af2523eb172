# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same files that the agent's reader is measured by get the same verdicts here."""

from __future__ import annotations

import base64
import functools
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload.cose import Trust, verify

VECTORS = Path(__file__).parents[3] / "agent" / "tests" / "vectors" / "payloads.json"


@functools.cache
def document() -> dict[str, t.Any]:
    return t.cast(dict[str, t.Any], json.loads(VECTORS.read_text()))


def verdict(vector: dict[str, t.Any]) -> str:
    trust = Trust.from_wire({**document()["trust"], "sequences": document()["sequences"]})
    try:
        verify(base64.b64decode(vector["file"]), trust, document()["now"])
    except HotpatchError as error:
        return error.code
    return "accepted"


@pytest.mark.parametrize("vector", document()["vectors"], ids=lambda vector: vector["name"])
def test_the_verdict_is_the_one_the_agent_gives(vector: dict[str, t.Any]) -> None:
    assert verdict(vector) == vector["expected"]
