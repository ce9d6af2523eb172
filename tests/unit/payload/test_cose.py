# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signing and verifying: who may, in which order things are checked, and what a changed byte does."""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t

import cbor2
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload import cose
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload.cose import Trust, TrustedKey, sign, verify

from .conftest import META, fix

NOW = META.created + 1


def refused(data: bytes, trust: Trust, now: int = NOW) -> str:
    with pytest.raises(HotpatchError) as error:
        verify(data, trust, now)
    return error.value.code


def test_a_signed_payload_is_read_back(signed: bytes, trust: Trust) -> None:
    assert verify(signed, trust, NOW) == fix("v2").payload


def test_the_same_content_and_key_give_the_same_file(signed: bytes, key: bytes) -> None:
    assert sign(fix("v2").content, key) == signed


def test_the_signature_is_that_of_the_standard(signed: bytes, key: bytes) -> None:
    """Checked with other libraries, from RFC 9052 and not from our code."""
    tag = cbor2.loads(signed)
    assert tag.tag == 18
    protected, unprotected, content, signature = tag.value
    spki = cose.public_key_of(key)
    assert cbor2.loads(protected) == {1: -7, 3: "application/vnd.hotpatch-windows.payload+cbor", 4: hashlib.sha256(spki).digest()}
    assert unprotected == {}
    public = serialization.load_der_public_key(spki)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    public.verify(der, cbor2.dumps(["Signature1", protected, b"", content]), ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        public.verify(der, cbor2.dumps(["Signature", protected, b"", content]), ec.ECDSA(hashes.SHA256()))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_changed_bit_is_refused(signed: bytes, trust: Trust, data: st.DataObject) -> None:
    changed = bytearray(signed)
    changed[data.draw(st.integers(0, len(signed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    codes = ("payload_malformed", "payload_truncated", "payload_key_unknown", "payload_signature_invalid", "payload_unsigned")
    assert refused(bytes(changed), trust) in codes


def test_any_truncation_says_so(signed: bytes, trust: Trust) -> None:
    for size in range(0, len(signed)):
        assert refused(signed[:size], trust) == "payload_truncated"


def test_a_payload_without_signature_is_unsigned(signed: bytes, trust: Trust) -> None:
    assert refused(signed[:-66] + b"\x40", trust) == "payload_unsigned"


def test_each_check_comes_before_the_next(signed: bytes, trust: Trust) -> None:
    """A payload that fails everything, healed one check after the other, shows the documented order."""
    key_id = trust.keys[0].kid
    broken = signed[:-1] + bytes([signed[-1] ^ 1])
    worst = Trust(
        keys=(),
        revoked_keys=frozenset({key_id}),
        revoked_payloads=frozenset({hashlib.sha256(signed).digest()}),
        sequences={META.id: META.sequence + 1},
    )
    late = META.expires + 1
    expired_key = (TrustedKey(trust.keys[0].public_key, "old", NOW),)
    assert refused(broken + b"\0" * cose.MAX_SIZE, worst, late) == "payload_malformed"
    assert refused(broken[:-1], worst, late) == "payload_truncated"
    assert refused(broken, worst, late) == "payload_key_revoked"
    worst = dataclasses.replace(worst, revoked_keys=frozenset())
    assert refused(broken, worst, late) == "payload_key_unknown"
    worst = dataclasses.replace(worst, keys=expired_key)
    assert refused(broken, worst, late) == "payload_key_expired"
    worst = dataclasses.replace(worst, keys=trust.keys)
    assert refused(broken, worst, late) == "payload_signature_invalid"
    assert refused(signed, worst, late) == "payload_revoked"
    worst = dataclasses.replace(worst, revoked_payloads=frozenset())
    assert refused(signed, worst, late) == "payload_expired"
    assert refused(signed, worst) == "payload_sequence_back"
    assert verify(signed, dataclasses.replace(worst, sequences={META.id: META.sequence}), NOW).id == META.id


def test_content_is_not_read_before_the_signature_is_checked(trust: Trust, signed: bytes) -> None:
    message = cose.parse(signed)
    damaged = signed.replace(message.content, b"\xff" * len(message.content))
    assert refused(damaged, trust) == "payload_signature_invalid"


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: parts.update(protected=cbor2.dumps({1: -7, 4: parts["kid"]}, canonical=True)),
        lambda parts: parts.update(protected=cbor2.dumps({1: -35, 3: parts["type"], 4: parts["kid"]}, canonical=True)),
        lambda parts: parts.update(unprotected={4: b"x"}),
        lambda parts: parts.update(tag=98),
        lambda parts: parts.update(signature=b"x" * 63),
    ],
)
def test_another_envelope_is_malformed(signed: bytes, trust: Trust, change: t.Callable[[dict[str, t.Any]], None]) -> None:
    protected, unprotected, content, signature = cbor2.loads(signed).value
    header = cbor2.loads(protected)
    parts = {"tag": 18, "protected": protected, "unprotected": unprotected, "signature": signature, "type": header[3], "kid": header[4]}
    change(parts)
    value = [parts["protected"], parts["unprotected"], content, parts["signature"]]
    assert refused(cbor2.dumps(cbor2.CBORTag(parts["tag"], value)), trust) == "payload_malformed"


def test_a_key_can_have_a_passphrase() -> None:
    locked = cose.generate_key(b"open sesame")
    data = sign(fix("v2").content, locked, b"open sesame")
    keys = (TrustedKey(cose.public_key_of(locked, b"open sesame")),)
    assert verify(data, Trust(keys), NOW).id == META.id
    for passphrase in (None, b"wrong"):
        with pytest.raises(HotpatchError) as error:
            sign(fix("v2").content, locked, passphrase)
        assert error.value.code == "key_unusable"


def test_only_p256_keys_can_sign() -> None:
    others: list[ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey] = [
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ]
    for other in others:
        pem = other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        with pytest.raises(HotpatchError) as error:
            sign(fix("v2").content, pem)
        assert error.value.code == "key_unusable"


def test_the_public_key_as_pem_is_what_openssl_writes(key: bytes) -> None:
    private = serialization.load_pem_private_key(key, None)
    expected = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert cose.public_key_pem(cose.public_key_of(key)) == expected


def test_nothing_but_a_payload_is_signed(key: bytes) -> None:
    with pytest.raises(HotpatchError, match="payload_malformed"):
        sign(b"\xa0", key)
