# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Only what is of the protocol is taken for it."""

from __future__ import annotations

import datetime
import json
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.protocol import MAX_REPLY, MAX_REQUEST, Request, decode
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

AGENT = {"version": "0.1.0", "build": "release", "mode": "resident", "sha256": "0" * 64}
GOOD: dict[str, t.Any] = {"protocol": 1, "agent": AGENT, "result": {"a": 1}}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def encoded(document: object) -> bytes:
    return json.dumps(document).encode("ascii")


def test_a_good_reply_gives_its_result_and_who_answered() -> None:
    reply = decode(encoded(GOOD))
    assert reply.unwrap() == {"a": 1}
    assert (reply.agent.version, reply.agent.mode) == ("0.1.0", "resident")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        encoded(GOOD)[:-1],
        encoded(GOOD) + b"x",
        "Grüße".encode(),
        b'{"protocol": 1, "protocol": 1}',
        b'{"protocol": 1, "agent": NaN}',
        encoded({**GOOD, "extra": 1}),
        encoded({key: GOOD[key] for key in ("protocol", "agent")}),
        encoded({**GOOD, "error": {"code": "agent_busy"}}),
        encoded({**GOOD, "result": []}),
        encoded({"protocol": 1, "result": {}}),
        encoded({**GOOD, "agent": {**AGENT, "build": "debug"}}),
        encoded({**GOOD, "agent": {**AGENT, "sha256": "short"}}),
        encoded({"protocol": 1, "agent": AGENT, "error": "no"}),
        b"[" * 100_000,
        b" " * (MAX_REPLY + 1),
    ],
)
def test_anything_else_is_malformed(raw: bytes) -> None:
    with pytest.raises(HotpatchError) as caught:
        decode(raw)
    assert caught.value.code == "protocol_malformed"


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_otherwise(raw: bytes) -> None:
    with pytest.raises(HotpatchError) as caught:
        decode(raw)
    assert caught.value.code == "protocol_malformed"


def test_a_code_of_a_later_release_keeps_its_name_and_words() -> None:
    error = decode(encoded({"protocol": 1, "agent": AGENT, "error": {"code": "moon_phase", "message": "New moon."}})).error
    assert error is not None
    assert (error.code, error.message, error.details["code"]) == ("agent_internal", "New moon.", "moon_phase")


@given(st.dictionaries(st.text(max_size=10), JSON, max_size=4), st.booleans())
def test_a_request_is_one_line_of_ascii_that_reads_back_the_same(arguments: dict[str, t.Any], dry_run: bool) -> None:
    raw = Request("apply", arguments, dry_run).encode()
    assert raw.isascii()
    assert raw.count(b"\n") == 1
    assert json.loads(raw) == {"protocol": 1, "operation": "apply", "arguments": arguments, "dry_run": dry_run}


@pytest.mark.parametrize("value", [b"bytes", datetime.date(2026, 1, 1), {1, 2}])
def test_what_json_cannot_hold_is_refused_with_its_place(value: object) -> None:
    with pytest.raises(HotpatchError) as caught:
        Request("apply", {"list": [0, value]}).encode()
    assert (caught.value.code, caught.value.where) == ("argument_invalid", "apply.list[1]")


def test_a_request_above_the_limit_is_refused() -> None:
    with pytest.raises(HotpatchError) as caught:
        Request("apply", {"text": "x" * MAX_REQUEST}).encode()
    assert caught.value.code == "argument_invalid"


def test_only_reading_and_dry_runs_change_nothing() -> None:
    assert Request("host_info").changes_nothing
    assert Request("apply", dry_run=True).changes_nothing
    assert not Request("apply").changes_nothing
