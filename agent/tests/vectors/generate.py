#!/usr/bin/env python3
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files must a reader of payloads accept, and for what reason must it refuse each of the others?

Writes ``payloads.json`` beside this file: signed messages with the error code that docs/payload.md promises for each (or
``accepted``). They are made with libraries nobody here wrote (cbor2, cryptography), so that neither the agent's reader in C++ nor the
collection's in Python is measured against itself. The keys are made for this purpose alone and are derived from fixed numbers:
the file is the same whenever it is generated.
"""

from __future__ import annotations

import base64
import hashlib
import json
import typing as t
from dataclasses import dataclass
from pathlib import Path

import cbor2
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

NOW: t.Final = 1_800_000_000
CONTENT_TYPE: t.Final = "application/vnd.hotpatch-windows.payload+cbor"
EXPECTED_NEAR: t.Final = bytes.fromhex("4883ec28488b0541200000c3") + b"\x90" * 4
EXPECTED_SHORT: t.Final = bytes.fromhex("8bff4883ec284883c428c3cccccccccc")
Map = dict[str, t.Any]


@dataclass(frozen=True)
class Key:
    """A signing key and what identifies it."""

    private: ec.EllipticCurvePrivateKey

    @classmethod
    def of(cls, number: int) -> Key:
        return cls(ec.derive_private_key(number, ec.SECP256R1()))

    @property
    def spki(self) -> bytes:
        return self.private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    @property
    def kid(self) -> bytes:
        return hashlib.sha256(self.spki).digest()

    def sign(self, data: bytes) -> bytes:
        der = self.private.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        return b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(der))


TRUSTED, STRANGER, REVOKED, EXPIRED = (Key.of(0x1000 + number) for number in range(4))


def content(**changes: t.Any) -> Map:
    """A content that is right in everything but what is changed."""
    return {**_content(), **changes}


def _content() -> Map:
    return {
        "format": 1,
        "id": "orders-2026-11",
        "sequence": 7,
        "created": NOW - 1000,
        "expires": NOW + 1000,
        "title": "Length check in parse_order",
        "cves": ["CVE-2026-12345"],
        "replaces": [],
        "machine": 0x8664,
        "quiescence": "entry",
        "target": {
            "name": "orders.dll",
            "sha256": bytes(range(32)),
            "size": 65536,
            "checksum": 0x12345,
            "timestamp": 0x6600_0000,
            "image_size": 0x20000,
        },
        "region": {
            "size": 8192,
            "sections": [
                {"offset": 0, "size": 4096, "protection": "rx", "data": b"\xc3" * 64},
                {"offset": 4096, "size": 4096, "protection": "r", "data": b"\x01\x00\x00\x00" * 4},
            ],
        },
        "fixups": [
            {"offset": 4, "kind": "rel32", "base": "target", "value": 0x3000, "addend": -4},
            {"offset": 8, "kind": "abs64", "base": "region", "value": 4096, "addend": 0},
        ],
        "unwind": [{"begin": 0, "end": 32, "info": 4096}],
        "functions": [
            {
                "name": "parse_order",
                "rva": 0x1000,
                "length": 16,
                "expected": EXPECTED_NEAR,
                "entry": 0,
                "redirect": "near",
                "padding": b"",
                "overwrite": 11,
            },
            {
                "name": "sub_1100",
                "rva": 0x1100,
                "length": 16,
                "expected": EXPECTED_SHORT,
                "entry": 32,
                "redirect": "short",
                "padding": b"\xcc" * 5,
                "overwrite": 2,
            },
        ],
    }


def within(part: str, index: int | None = None, **changes: t.Any) -> Map:
    """A content with changes inside one of its maps (or one map of a list)."""
    whole = content()
    target = whole[part] if index is None else whole[part][index]
    target.update(changes)
    return whole


def without(key: str, part: str | None = None) -> Map:
    """A content that lacks one key."""
    whole = content()
    del (whole if part is None else whole[part])[key]
    return whole


def encode(value: t.Any) -> bytes:
    """Deterministic CBOR."""
    return cbor2.dumps(value, canonical=True)


def head(major: int, argument: int, width: int) -> bytes:
    """An initial byte with an argument of ``width`` bytes, whatever the shortest would be; width 0 puts it into the initial byte."""
    if width == 0:
        return bytes([major << 5 | argument])
    return bytes([major << 5 | {1: 24, 2: 25, 4: 26, 8: 27}[width]]) + argument.to_bytes(width, "big")


def protected_header(kid: bytes) -> bytes:
    return encode({1: -7, 3: CONTENT_TYPE, 4: kid})


def to_be_signed(protected: bytes, data: bytes) -> bytes:
    return encode(["Signature1", protected, b"", data])


def signed_bytes(data: bytes, key: Key = TRUSTED, protected: bytes | None = None) -> bytes:
    """A whole file around any content bytes, genuinely signed."""
    header = protected_header(key.kid) if protected is None else protected
    return message(header, {}, data, key.sign(to_be_signed(header, data)))


def message(protected: t.Any, unprotected: t.Any, data: t.Any, signature: t.Any) -> bytes:
    return encode(cbor2.CBORTag(18, [protected, unprotected, data, signature]))


def signed(value: Map, key: Key = TRUSTED) -> bytes:
    return signed_bytes(encode(value), key)


def with_pairs(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """A content map from encoded pairs in the given order."""
    return head(5, len(pairs), 0) + b"".join(key + value for key, value in pairs)


def sorted_pairs(value: Map) -> list[tuple[bytes, bytes]]:
    return sorted((encode(key), encode(item)) for key, item in value.items())


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    """The bytes with one part exchanged, which must be there exactly once."""
    if data.count(old) != 1:
        raise ValueError(f"{old.hex()} is there {data.count(old)} times")
    return data.replace(old, new)


GOOD: t.Final = signed(content())
Vector = tuple[str, str, bytes]


def accepted() -> list[Vector]:
    many = [{"name": f"sub_{rva:x}", **_near(rva, index)} for index, rva in enumerate(range(0x1000, 0x1000 + 40 * 16, 16))]
    return [
        ("a payload", "accepted", GOOD),
        ("expiry is now", "accepted", signed(content(expires=NOW))),
        ("the sequence that was accepted before", "accepted", signed(content(id="seen", sequence=5))),
        ("the largest numbers", "accepted", signed(content(sequence=2**64 - 1, created=2**64 - 1, expires=2**64 - 1))),
        ("no CVE, no fixup, no unwind data", "accepted", signed(content(cves=[], fixups=[], unwind=[]))),
        ("other ids it replaces", "accepted", signed(content(replaces=["a", "b-1.2_3"]))),
        ("a title of 200 characters that are two bytes each", "accepted", signed(content(title="\u00e9" * 200))),
        ("a file name of 255 characters that are three bytes each", "accepted", signed(within("target", name="\u20ac" * 255))),
        ("an id of 64 characters", "accepted", signed(content(id="a" * 64))),
        ("padding of 0x90", "accepted", signed(within("functions", 1, padding=b"\x90" * 5))),
        ("padding that is one nop of 5 bytes", "accepted", signed(within("functions", 1, padding=bytes.fromhex("0f1f440000")))),
        ("more than 23 functions", "accepted", signed(content(functions=many))),
        ("a region with a hole and a writable section", "accepted", signed(content(region=_region_with_hole()))),
        ("the smallest and the largest addend", "accepted", signed(content(fixups=[_fixup(0, -(2**31)), _fixup(4, 2**31 - 1)]))),
    ]


def _near(rva: int, index: int) -> Map:
    return {"rva": rva, "length": 16, "expected": EXPECTED_NEAR, "entry": 16 * index, "redirect": "near", "padding": b"", "overwrite": 5}


def _fixup(offset: int, addend: int) -> Map:
    return {"offset": offset, "kind": "rel32", "base": "target", "value": 0x1FFFF, "addend": addend}


def _region_with_hole() -> Map:
    code = {"offset": 0, "size": 4096, "protection": "rx", "data": b"\xc3" * 64}
    data = {"offset": 12288, "size": 8192, "protection": "rw", "data": b""}
    read = {"offset": 4096, "size": 4, "protection": "r", "data": b"\x01\x00\x00\x00"}
    return {"size": 20480, "sections": [code, read, data]}


def trust_and_standing() -> list[Vector]:
    last = bytearray(GOOD)
    last[-1] ^= 1
    swapped = GOOD[:-64] + GOOD[-32:] + GOOD[-64:-32]
    header = protected_header(TRUSTED.kid)
    data = encode(content())
    order = int("FFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551", 16)
    return [
        ("an empty signature", "payload_unsigned", message(header, {}, data, b"")),
        ("an unknown key", "payload_key_unknown", signed(content(), STRANGER)),
        ("a revoked key", "payload_key_revoked", signed(content(), REVOKED)),
        ("an expired key", "payload_key_expired", signed(content(), EXPIRED)),
        ("one bit of the signature is wrong", "payload_signature_invalid", bytes(last)),
        ("r and s are exchanged", "payload_signature_invalid", swapped),
        ("r and s are zero", "payload_signature_invalid", message(header, {}, data, bytes(64))),
        ("r is the order of the curve", "payload_signature_invalid", message(header, {}, data, order.to_bytes(32, "big") + b"\x01" * 32)),
        ("another content under the signature", "payload_signature_invalid", message(header, {}, encode(content(sequence=8)), GOOD[-64:])),
        ("signed by another key than it names", "payload_signature_invalid", signed_bytes(data, STRANGER, header)),
        ("signed with external data", "payload_signature_invalid", _with_external_data(header, data)),
        ("signed as COSE_Sign, not COSE_Sign1", "payload_signature_invalid", _with_context(header, data)),
        ("this payload is revoked", "payload_revoked", signed(content(id="revoked"))),
        ("expired a second ago", "payload_expired", signed(content(expires=NOW - 1))),
        ("an older sequence than accepted", "payload_sequence_back", signed(content(id="seen", sequence=4))),
        ("revoked comes before expired", "payload_revoked", signed(content(id="revoked", expires=1))),
        ("expired comes before sequence", "payload_expired", signed(content(id="seen", sequence=1, expires=1))),
        ("signature comes before content", "payload_signature_invalid", message(header, {}, b"\xff", bytes(range(64)))),
    ]


def _with_external_data(header: bytes, data: bytes) -> bytes:
    return message(header, {}, data, TRUSTED.sign(encode(["Signature1", header, b"x", data])))


def _with_context(header: bytes, data: bytes) -> bytes:
    return message(header, {}, data, TRUSTED.sign(encode(["Signature", header, b"", data])))


def outer_form() -> list[Vector]:
    header = protected_header(TRUSTED.kid)
    data = encode(content())
    signature = GOOD[-64:]
    items = encode(header) + encode({}) + encode(data) + encode(signature)
    bad = "payload_malformed"
    return [
        ("nothing", "payload_truncated", b""),
        ("only the tag", "payload_truncated", GOOD[:1]),
        ("cut in the protected header", "payload_truncated", GOOD[:20]),
        ("cut before the content", "payload_truncated", GOOD[: 2 + len(encode(header)) + 1]),
        ("cut in the content", "payload_truncated", GOOD[: len(GOOD) // 2]),
        ("the last byte is missing", "payload_truncated", GOOD[:-1]),
        ("a content length beyond the file", "payload_truncated", GOOD[: 3 + len(encode(header))] + head(2, 2**40, 8)),
        ("a content length of 2^64 - 1", "payload_truncated", GOOD[: 3 + len(encode(header))] + head(2, 2**64 - 1, 8)),
        ("a byte behind the end", bad, GOOD + b"\x00"),
        ("no tag", bad, GOOD[1:]),
        ("the tag of COSE_Sign", bad, b"\xd8\x62" + GOOD[1:]),
        ("the tag in two bytes", bad, b"\xd8\x12" + GOOD[1:]),
        ("three items", bad, b"\xd2\x83" + items[: -len(encode(signature))]),
        ("five items", bad, b"\xd2\x85" + items + b"\x40"),
        ("an array of indefinite length", bad, b"\xd2\x9f" + items + b"\xff"),
        ("the array's length in two bytes", bad, b"\xd2\x98\x04" + items),
        ("something in the unprotected header", bad, message(header, {4: TRUSTED.kid}, data, signature)),
        ("the protected header is a map", bad, message({1: -7, 3: CONTENT_TYPE, 4: TRUSTED.kid}, {}, data, signature)),
        ("the content is text", bad, message(header, {}, "text", signature)),
        ("the content is detached", bad, message(header, {}, None, signature)),
        ("a signature of 63 bytes", bad, message(header, {}, data, signature[:-1])),
        ("a signature in DER", bad, message(header, {}, data, b"\x30\x44" + bytes(68))),
        ("a content of indefinite length", bad, b"\xd2\x84" + encode(header) + b"\xa0\x5f" + encode(data) + b"\xff" + encode(signature)),
        ("JSON", bad, b'{"format": 1}'),
        ("a program", bad, b"MZ" + bytes(200)),
        *[(f"protected header: {name}", bad, signed_bytes(data, TRUSTED, other)) for name, other in _other_headers()],
    ]


def _other_headers() -> list[tuple[str, bytes]]:
    kid = TRUSTED.kid
    return [
        ("empty", b""),
        ("an empty map", b"\xa0"),
        ("no key id", encode({1: -7, 3: CONTENT_TYPE})),
        ("another algorithm", encode({1: -35, 3: CONTENT_TYPE, 4: kid})),
        ("another content type", encode({1: -7, 3: "application/cbor", 4: kid})),
        ("a content type that is a number", encode({1: -7, 3: 60, 4: kid})),
        ("a key id of 31 bytes", encode({1: -7, 3: CONTENT_TYPE, 4: kid[:-1]})),
        ("one entry more", encode({1: -7, 3: CONTENT_TYPE, 4: kid, 5: b""})),
        ("a critical header", encode({1: -7, 2: [4], 3: CONTENT_TYPE, 4: kid})),
        ("bytes behind its end", encode({1: -7, 3: CONTENT_TYPE, 4: kid}) + b"\x00"),
        ("entries in another order", b"\xa3" + encode(3) + encode(CONTENT_TYPE) + encode(1) + encode(-7) + encode(4) + encode(kid)),
        ("an entry twice", b"\xa3" + encode(1) + encode(-7) + encode(1) + encode(-7) + encode(4) + encode(kid)),
    ]


def encoding_of_content() -> list[Vector]:
    pairs = sorted_pairs(content())
    data = encode(content())
    format_pair = (encode("format"), encode(1))
    id_pair = (encode("id"), encode("orders-2026-11"))
    sequence = encode("sequence")
    quiescence = encode("quiescence")
    bad = "payload_malformed"
    cases = [
        ("empty", b""),
        ("cut off", data[:-1]),
        ("a byte behind the end", data + b"\x00"),
        ("an array", encode([1, 2])),
        ("a map of indefinite length", b"\xbf" + data[1:] + b"\xff"),
        ("the map's length in one byte more", b"\xb8\x0f" + data[1:]),
        ("a map with one pair more than follow", b"\xb0" + data[1:]),
        ("keys in reverse order", with_pairs(pairs[::-1])),
        ("two keys exchanged", with_pairs([pairs[1], pairs[0], *pairs[2:]])),
        ("a key twice", with_pairs(sorted([*pairs, format_pair]))),
        ("a key twice in the place of another", with_pairs(sorted([*[pair for pair in pairs if pair != id_pair], format_pair]))),
        ("a key that is a number", with_pairs(sorted([*pairs[1:], (encode(1), encode(1))]))),
        ("a number in one byte more", replaced(data, sequence + b"\x07", sequence + head(0, 7, 1))),
        ("a number in eight bytes", replaced(data, sequence + b"\x07", sequence + head(0, 7, 8))),
        ("a text length in one byte more", replaced(data, quiescence + encode("entry"), quiescence + head(3, 5, 1) + b"entry")),
        ("a key's length in one byte more", replaced(data, sequence, head(3, 8, 1) + b"sequence")),
        ("a text of indefinite length", replaced(data, quiescence + encode("entry"), quiescence + b"\x7f" + encode("entry") + b"\xff")),
        ("a float", replaced(data, sequence + b"\x07", sequence + bytes.fromhex("f94700"))),
        ("true", replaced(data, sequence + b"\x07", sequence + b"\xf5")),
        ("null", replaced(data, sequence + b"\x07", sequence + b"\xf6")),
        ("a tag", replaced(data, sequence + b"\x07", sequence + b"\xc1\x07")),
        ("a reserved additional information", replaced(data, sequence + b"\x07", sequence + b"\x1c")),
        ("a break", replaced(data, sequence + b"\x07", sequence + b"\xff")),
        ("text that is not UTF-8", replaced(data, quiescence + encode("entry"), quiescence + head(3, 5, 0) + b"entr\xff")),
        ("text with a surrogate", replaced(data, quiescence + encode("entry"), quiescence + head(3, 5, 0) + b"en\xed\xa0\x80")),
        ("text in an overlong form", replaced(data, quiescence + encode("entry"), quiescence + head(3, 5, 0) + b"ent\xc1\xb9")),
        ("an array longer than the file", replaced(data, encode("cves") + b"\x81", encode("cves") + head(4, 2**32, 8))),
        ("a map longer than the file", replaced(data, encode("target") + b"\xa6", encode("target") + head(5, 2**62, 8))),
        ("a hundred arrays in each other", replaced(data, sequence + b"\x07", sequence + b"\x81" * 100 + b"\x00")),
        ("a hundred thousand arrays in each other", replaced(data, sequence + b"\x07", sequence + b"\x81" * 100_000 + b"\x00")),
    ]
    return [(f"content: {name}", bad, signed_bytes(case)) for name, case in cases]


def values_of_content() -> list[Vector]:
    bad = "payload_malformed"
    cases: list[tuple[str, Map]] = [
        *[(f"no {key}", without(key)) for key in sorted(_content())],
        *[(f"no target.{key}", without(key, "target")) for key in sorted(_content()["target"])],
        ("an unknown key", content(extra=1)),
        ("an unknown key in target", within("target", extra=1)),
        ("an unknown key in a function", within("functions", 0, extra=1)),
        ("a sequence below zero", content(sequence=-1)),
        ("a sequence that is text", content(sequence="7")),
        ("an empty id", content(id="")),
        ("an id in capitals", content(id="Orders")),
        ("an id that begins with a dot", content(id=".a")),
        ("an id with a slash", content(id="a/b")),
        ("an id of 65 characters", content(id="a" * 65)),
        ("an id with a line break", content(id="a\n")),
        ("a title of 201 characters", content(title="a" * 201)),
        ("a title of two lines", content(title="a\nb")),
        ("CVEs that are not a list", content(cves="CVE-2026-1")),
        ("a CVE that is a number", content(cves=[1])),
        ("an id to replace that is none", content(replaces=["A"])),
        ("another machine", content(machine=0x14C)),
        ("an unknown quiescence", content(quiescence="none")),
        ("a hash of 31 bytes", within("target", sha256=bytes(31))),
        ("a target with a path", within("target", name="..\\orders.dll")),
        ("a target without a name", within("target", name="")),
        ("a target name with a null", within("target", name="a\0b")),
        ("a checksum of 33 bits", within("target", checksum=2**32)),
        ("an image of 2 GiB", within("target", image_size=2**31)),
        ("an empty region", within("region", size=0)),
        ("a region that is no multiple of a page", within("region", size=8191)),
        ("a region of 8 MiB and a page", within("region", size=2**23 + 4096)),
        ("a section beyond the region", within("region", size=4096)),
        *[(f"sections: {name}", within("region", sections=sections)) for name, sections in _bad_sections()],
        *[(f"fixups: {name}", content(fixups=fixups)) for name, fixups in _bad_fixups()],
        *[(f"unwind: {name}", content(unwind=entries)) for name, entries in _bad_unwind()],
        ("no function", content(functions=[])),
        *[(f"function: {name}", within("functions", index, **changes)) for name, index, changes in _bad_functions()],
    ]
    formats: list[Vector] = [
        ("format 2", "payload_format_unsupported", signed(content(format=2))),
        ("format 2 with other keys", "payload_format_unsupported", signed({"format": 2, "something": ["else"]})),
        ("format 0", "payload_format_unsupported", signed(content(format=0))),
        ("format 2 that is not deterministic", bad, signed_bytes(with_pairs(sorted_pairs({"format": 2, "z": 1})[::-1]))),
        ("a format that is text", bad, signed(content(format="1"))),
    ]
    return [*formats, *[(f"content: {name}", bad, signed(case)) for name, case in cases]]


def _bad_sections() -> list[tuple[str, list[Map]]]:
    code, data = _content()["region"]["sections"]
    return [
        ("none, though functions enter there", []),
        ("not sorted", [data, code]),
        ("overlapping", [{**code, "size": 4097}, data]),
        ("not on a page", [{**code, "offset": 16}]),
        ("empty", [{**code, "size": 0, "data": b""}, data]),
        ("more data than size", [{**code, "size": 63}, data]),
        ("writable and executable", [{**code, "protection": "rwx"}, data]),
        ("offset and size together beyond 2^32", [code, {**data, "offset": 2**31 - 4096, "size": 2**31 - 1}]),
    ]


def _bad_fixups() -> list[tuple[str, list[Map]]]:
    first, second = _content()["fixups"]
    return [
        ("not sorted", [second, first]),
        ("overlapping", [first, {**second, "offset": 7}]),
        ("behind the data", [{**first, "offset": 61}]),
        ("in a hole", [{**first, "offset": 4096 + 14}]),
        ("of an unknown kind", [{**first, "kind": "rel8"}]),
        ("of an unknown base", [{**first, "base": "kernel32"}]),
        ("beyond the module", [{**first, "value": 0x20000}]),
        ("beyond the region", [{**second, "value": 8192}]),
        ("an addend of 33 bits", [{**first, "addend": 2**31}]),
        ("an addend below 32 bits", [{**first, "addend": -(2**31) - 1}]),
        ("an addend of 64 bits", [{**first, "addend": -(2**63)}]),
        ("an offset of 2^31", [{**first, "offset": 2**31}]),
    ]


def _bad_unwind() -> list[tuple[str, list[Map]]]:
    return [
        ("an empty range", [{"begin": 16, "end": 16, "info": 4096}]),
        ("a range that ends before it begins", [{"begin": 32, "end": 16, "info": 4096}]),
        ("code that is not executable", [{"begin": 4096, "end": 4100, "info": 4096}]),
        ("over the end of a section", [{"begin": 4090, "end": 4100, "info": 4096}]),
        ("overlapping", [{"begin": 0, "end": 32, "info": 4096}, {"begin": 16, "end": 48, "info": 4096}]),
        ("information outside of the region", [{"begin": 0, "end": 32, "info": 8192}]),
        ("information that is not aligned", [{"begin": 0, "end": 32, "info": 4097}]),
    ]


def _bad_functions() -> list[tuple[str, int, Map]]:
    return [
        ("no name", 0, {"name": ""}),
        ("a name with a line break", 0, {"name": "a\nb"}),
        ("not sorted", 0, {"rva": 0x1200}),
        ("overlapping", 0, {"rva": 0x10F8}),
        ("in the padding of the next", 0, {"rva": 0x10EC}),
        ("beyond the module", 1, {"rva": 0x1FFF2}),
        ("empty", 0, {"length": 0, "expected": b""}),
        ("expected bytes of another length", 0, {"expected": EXPECTED_NEAR[:-1]}),
        ("an entry that is not aligned", 0, {"entry": 8}),
        ("an entry in data", 0, {"entry": 4096}),
        ("an entry outside of the region", 0, {"entry": 8192}),
        ("an unknown redirection", 0, {"redirect": "far"}),
        ("near: 4 bytes", 0, {"overwrite": 4}),
        ("near: 16 bytes", 0, {"overwrite": 16}),
        ("near: more than the function has", 0, {"length": 5, "expected": EXPECTED_NEAR[:5]}),
        ("near: with padding", 0, {"padding": b"\x90" * 5}),
        ("short: at an odd address", 1, {"rva": 0x1101}),
        ("short: 3 bytes", 1, {"overwrite": 3}),
        ("short: no padding", 1, {"padding": b""}),
        ("short: padding of 4 bytes", 1, {"padding": b"\xcc" * 4}),
        ("short: padding that is code", 1, {"padding": b"\xcc\xcc\xcc\xcc\xc3"}),
        ("short: mixed padding", 1, {"padding": b"\x90\x90\x90\xcc\xcc"}),
    ]


def document() -> dict[str, t.Any]:
    """Everything a test of a reader needs."""
    vectors = [*accepted(), *trust_and_standing(), *outer_form(), *encoding_of_content(), *values_of_content()]
    revoked_payloads = [file for name, code, file in vectors if code == "payload_revoked"]
    trusted = [("release", TRUSTED, NOW), ("revoked", REVOKED, None), ("expired", EXPIRED, NOW - 1)]
    return {
        "now": NOW,
        "trust": {
            "keys": [{"public_key": _base64(key.spki), "name": name, "not_after": end} for name, key, end in trusted],
            "revoked_keys": [REVOKED.kid.hex()],
            "revoked_payloads": [hashlib.sha256(file).hexdigest() for file in revoked_payloads],
        },
        "sequences": {"seen": 5},
        "vectors": [{"name": name, "expected": code, "file": _base64(file)} for name, code, file in vectors],
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


if __name__ == "__main__":
    path = Path(__file__).with_name("payloads.json")
    path.write_text(json.dumps(document(), indent=1) + "\n", encoding="utf-8")
