# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The payload's content: what is written is read back, and nothing else is accepted."""

from __future__ import annotations

import dataclasses
import typing as t

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload import cbor
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload.format import (
    Fixup,
    FixupBase,
    FixupKind,
    PatchedFunction,
    Payload,
    Protection,
    Quiescence,
    Redirect,
    RegionSection,
    TargetId,
    UnwindEntry,
    decode,
    encode,
)

from .conftest import fix

IDS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True)
LINES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=60)
U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)


@st.composite
def payloads(draw: st.DrawFn) -> Payload:
    """Any payload the format allows: one code section, one data section, functions side by side."""
    code, data = draw(st.binary(min_size=64, max_size=300)), draw(st.binary(max_size=64))
    count = draw(st.integers(1, 3))
    functions = []
    for index in range(count):
        expected = draw(st.binary(min_size=16, max_size=40))
        short = draw(st.booleans())
        functions.append(
            PatchedFunction(
                name=draw(LINES.filter(bool)),
                rva=0x1000 + 0x100 * index,
                length=len(expected),
                expected=expected,
                entry=16 * draw(st.integers(0, len(code) // 16 - 1)),
                redirect=Redirect.SHORT if short else Redirect.NEAR,
                padding=draw(st.sampled_from([b"\x90" * 5, b"\xcc" * 5])) if short else b"",
                overwrite=2 if short else draw(st.integers(5, 15)),
            )
        )
    image_size = draw(st.integers(0x2000, 2**31 - 1))
    fixup = st.builds(
        Fixup,
        offset=st.just(8),
        kind=st.sampled_from(FixupKind),
        base=st.sampled_from(FixupBase),
        value=st.integers(0, 0x1FFF),
        addend=st.integers(-(2**31), 2**31 - 1),
    )
    return Payload(
        id=draw(IDS),
        sequence=draw(U64),
        created=draw(U64),
        expires=draw(U64),
        title=draw(LINES),
        cves=tuple(draw(st.lists(LINES, max_size=3))),
        replaces=tuple(draw(st.lists(IDS, max_size=3))),
        quiescence=draw(st.sampled_from(Quiescence)),
        target=TargetId("orders.dll", draw(st.binary(min_size=32, max_size=32)), draw(U64), draw(U32), draw(U32), image_size),
        region_size=0x2000,
        sections=(
            RegionSection(0, len(code), Protection.EXECUTE, code),
            RegionSection(0x1000, len(data) + 4, draw(st.sampled_from([Protection.READ, Protection.WRITE])), data),
        ),
        fixups=tuple(draw(st.lists(fixup, max_size=1))),
        unwind=(UnwindEntry(0, 16, 0x1000),) if draw(st.booleans()) else (),
        functions=tuple(functions),
    )


@given(payloads())
def test_what_is_written_is_read_back(payload: Payload) -> None:
    assert decode(encode(payload)) == payload


@given(payloads())
def test_the_encoding_is_the_canonical_one_of_another_library(payload: Payload) -> None:
    content = encode(payload)
    assert cbor2.dumps(cbor2.loads(content), canonical=True) == content


@given(st.data())
def test_changed_bytes_are_refused_or_read_as_what_they_say(data: st.DataObject) -> None:
    """No input crashes the reader, and nothing is accepted that would be written differently."""
    content = bytearray(fix("v2").content)
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[at] = data.draw(st.integers(0, 255))
    outcome = read(bytes(content))
    if isinstance(outcome, Payload):
        assert encode(outcome) == bytes(content)
    else:
        assert outcome in ("payload_malformed", "payload_format_unsupported")


def read(content: bytes) -> Payload | str:
    """The payload, or the code of the error."""
    try:
        return decode(content)
    except HotpatchError as error:
        return error.code


def test_every_truncation_is_refused() -> None:
    content = fix("v2").content
    for size in range(len(content)):
        with pytest.raises(HotpatchError):
            decode(content[:size])


def test_bytes_behind_the_end_are_refused() -> None:
    with pytest.raises(HotpatchError, match="payload_malformed"):
        decode(fix("v2").content + b"\0")


def reencoded(change: t.Callable[[dict[str, t.Any]], None]) -> bytes:
    content = cbor2.loads(fix("v2").content)
    assert isinstance(content, dict)
    change(content)
    return cbor2.dumps(content, canonical=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(surprise=1),
        lambda c: c.pop("cves"),
        lambda c: c["target"].update(surprise=1),
        lambda c: c["region"]["sections"][0].pop("size"),
        lambda c: c["functions"][0].update(redirect="far"),
        lambda c: c["functions"][0].update(entry=8),
        lambda c: c["functions"][0].update(padding=b"\x90\x90\x90\x90\xcc"),
        lambda c: c["functions"][0].update(length=c["functions"][0]["length"] + 1),
        lambda c: c["functions"].reverse(),
        lambda c: c["functions"].clear(),
        lambda c: c["fixups"].reverse(),
        lambda c: c["fixups"][0].update(offset=2**31),
        lambda c: c["fixups"][0].update(value=-1),
        lambda c: c["fixups"][0].update(value=c["target"]["image_size"]),
        lambda c: c["unwind"][0].update(info=2**30),
        lambda c: c["region"].update(size=c["region"]["size"] + 1),
        lambda c: c["region"].update(size=16 * 2**20),
        lambda c: c["region"]["sections"][1].update(offset=0),
        lambda c: c["region"]["sections"][0].update(protection="rwx"),
        lambda c: c["target"].update(name="..\\orders.dll"),
        lambda c: c["target"].update(sha256=b"short"),
        lambda c: c.update(machine=0x14C),
        lambda c: c.update(id="Not An Id"),
        lambda c: c.update(title="two\nlines"),
        lambda c: c.update(title="x" * 201),
        lambda c: c.update(sequence=-1),
        lambda c: c.update(sequence="3"),
        lambda c: c.update(cves="CVE"),
        lambda c: c.update(expires=1.5),
        lambda c: c.update(expires=None),
    ],
)
def test_content_that_breaks_a_rule_is_refused(change: t.Callable[[dict[str, t.Any]], None]) -> None:
    with pytest.raises(HotpatchError, match="payload_malformed"):
        decode(reencoded(change))


def test_a_later_format_is_called_unsupported_not_damaged() -> None:
    with pytest.raises(HotpatchError, match="payload_format_unsupported"):
        decode(reencoded(lambda c: c.update(format=2, more="keys")))


@pytest.mark.parametrize(
    "data",
    [
        "1800",  # 0 in two bytes
        "190017",  # 23 in three bytes
        "1b00000000ffffffff",  # 32 bits in eight bytes
        "5f41004100ff",  # indefinite length
        "9fff",
        "bfff",
        "f4",  # false
        "f93c00",  # 1.0
        "c100",  # a tag
        "a2616200616100",  # keys out of order
        "a2616100616100",  # a key twice
        "a10000",  # a key that is no text
        "61ff",  # not UTF-8
    ],
)
def test_another_encoding_than_the_deterministic_one_is_malformed(data: str) -> None:
    with pytest.raises(HotpatchError, match="payload_malformed"):
        cbor.Reader(bytes.fromhex(data)).value()


@pytest.mark.parametrize("data", ["", "18", "42ff", "9b0000000100000000", "bb0000000100000000", "5b7fffffffffffffff"])
def test_a_length_beyond_the_end_is_truncated_and_nothing_is_made_for_it(data: str) -> None:
    with pytest.raises(HotpatchError, match="payload_truncated"):
        cbor.Reader(bytes.fromhex(data)).value()


def test_deep_nesting_ends() -> None:
    with pytest.raises(HotpatchError, match="payload_malformed"):
        cbor.Reader(b"\x81" * 5000 + b"\x00").value()


def test_an_invalid_payload_is_not_written() -> None:
    with pytest.raises(HotpatchError, match="payload_malformed"):
        encode(dataclasses.replace(fix("v2").payload, id="Not An Id"))
