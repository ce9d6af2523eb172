# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Who signed a payload, is it genuine, and may this host use it? (COSE_Sign1 of RFC 9052 with ES256.)"""

from __future__ import annotations

import base64
import hashlib
import typing as t
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

from . import cbor, format

MAX_SIZE: t.Final = 16 * 1024 * 1024
_TAG_SIGN1: t.Final = 18
_CONTENT_TYPE: t.Final = "application/vnd.hotpatch-windows.payload+cbor"
_KID_SIZE: t.Final = 32
_HALF: t.Final = 32  # bytes of r and of s on P-256


@dataclass(frozen=True)
class TrustedKey:
    """A public key that payloads may be signed with."""

    public_key: bytes
    """DER SubjectPublicKeyInfo of P-256."""
    name: str = ""
    not_after: int | None = None
    """Seconds since 1970 UTC."""

    @property
    def kid(self) -> bytes:
        """The key's id."""
        return hashlib.sha256(self.public_key).digest()


@dataclass(frozen=True)
class Trust:
    """Whom and what a host, or a person on the controller, trusts."""

    keys: tuple[TrustedKey, ...] = ()
    revoked_keys: frozenset[bytes] = frozenset()
    revoked_payloads: frozenset[bytes] = frozenset()
    """SHA-256 of whole signed files."""
    sequences: Mapping[str, int] = field(default_factory=dict)
    """The highest sequence accepted of each payload id."""

    @classmethod
    def from_wire(cls, trust: Mapping[str, t.Any]) -> Trust:
        """From the form of the wire's ``trust_get`` and ``trust_set``."""
        return cls(
            keys=tuple(TrustedKey(base64.b64decode(key["public_key"]), key["name"], key["not_after"]) for key in trust["keys"]),
            revoked_keys=frozenset(bytes.fromhex(value) for value in trust["revoked_keys"]),
            revoked_payloads=frozenset(bytes.fromhex(value) for value in trust["revoked_payloads"]),
            sequences=dict(trust.get("sequences", {})),
        )


@dataclass(frozen=True)
class SignedMessage:
    """A signed file taken apart, not yet believed."""

    protected: bytes
    kid: bytes
    content: bytes
    signature: bytes


# -- keys ----------------------------------------------------------------------------------------------------------------------


def generate_key(passphrase: bytes | None = None) -> bytes:
    """A new P-256 signing key as PKCS#8 PEM, encrypted when there is a passphrase."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def public_key_of(key_pem: bytes, passphrase: bytes | None = None) -> bytes:
    """The public half of a private or public PEM key, as DER SubjectPublicKeyInfo.

    :raises HotpatchError: ``key_unusable``.
    """
    if b"PUBLIC KEY" in key_pem:
        return _spki(_load_public(key_pem))
    return _spki(_load_private(key_pem, passphrase).public_key())


def public_key_pem(spki: bytes) -> bytes:
    """A DER SubjectPublicKeyInfo as PEM, the form the module hotpatch.windows.agent takes."""
    lines = base64.encodebytes(spki).replace(b"\n", b"")
    body = b"\n".join(lines[at : at + 64] for at in range(0, len(lines), 64))
    return b"-----BEGIN PUBLIC KEY-----\n" + body + b"\n-----END PUBLIC KEY-----\n"


def kid(spki: bytes) -> bytes:
    """The id of a key: SHA-256 of its DER SubjectPublicKeyInfo."""
    return hashlib.sha256(spki).digest()


def _load_private(pem: bytes, passphrase: bytes | None) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, passphrase or None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise HotpatchError("key_unusable", f"The private key cannot be used: {error}.") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise HotpatchError("key_unusable", "The private key is not an EC key on the curve P-256.")
    return key


def _load_public(data: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(data) if b"-----" in data else serialization.load_der_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise HotpatchError("key_unusable", f"The public key cannot be used: {error}.") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise HotpatchError("key_unusable", "The public key is not an EC key on the curve P-256.")
    return key


def _spki(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


# -- signing -------------------------------------------------------------------------------------------------------------------


def sign(content: bytes, key_pem: bytes, passphrase: bytes | None = None) -> bytes:
    """The signed file of a content.

    The signature is deterministic (RFC 6979): the same content and key always give the same file.

    :raises HotpatchError: ``key_unusable``, or ``payload_malformed`` when the content is none.
    """
    format.decode(content)
    key = _load_private(key_pem, passphrase)
    protected = cbor.encode({1: -7, 3: _CONTENT_TYPE, 4: kid(_spki(key.public_key()))})
    der = key.sign(_to_be_signed(protected, content), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    r, s = decode_dss_signature(der)
    return _message(protected, content, r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big"))


def _to_be_signed(protected: bytes, content: bytes) -> bytes:
    return cbor.encode(["Signature1", protected, b"", content])


def _message(protected: bytes, content: bytes, signature: bytes) -> bytes:
    return cbor.encode_tag(_TAG_SIGN1) + cbor.encode([protected, {}, content, signature])


# -- verifying -----------------------------------------------------------------------------------------------------------------


def verify(data: bytes, trust: Trust, now: int) -> format.Payload:
    """The payload in a signed file, after every check of docs/payload.md in its order.

    :param now: seconds since 1970 UTC.
    :raises HotpatchError: the first check that fails, by its code.
    """
    message = parse(data)
    _check_signature(message, trust, now)
    payload = format.decode(message.content)
    if hashlib.sha256(data).digest() in trust.revoked_payloads:
        raise HotpatchError("payload_revoked", f"The payload '{payload.id}' is revoked.")
    if now > payload.expires:
        raise HotpatchError("payload_expired", f"The payload '{payload.id}' expired at {payload.expires}.")
    accepted = trust.sequences.get(payload.id)
    if accepted is not None and payload.sequence < accepted:
        raise HotpatchError(
            "payload_sequence_back", f"The payload '{payload.id}' has sequence {payload.sequence}; {accepted} was accepted before."
        )
    return payload


def parse(data: bytes) -> SignedMessage:
    """Takes a signed file apart; nothing of it is believed yet.

    :raises HotpatchError: ``payload_truncated``, ``payload_malformed``, ``payload_unsigned``.
    """
    if len(data) > MAX_SIZE:
        raise HotpatchError("payload_malformed", "The payload is larger than 16 MiB.")
    reader = cbor.Reader(data)
    reader.tag(_TAG_SIGN1)
    items = reader.array()
    if items != 4:
        raise HotpatchError("payload_malformed", f"The signed message has {items} parts instead of 4.")
    protected = reader.byte_string()
    unprotected = reader.map()
    content, signature = reader.byte_string(), reader.byte_string()
    reader.end()
    if unprotected != 0:
        raise HotpatchError("payload_malformed", "The signed message has an unprotected header.")
    key_id = protected[-_KID_SIZE:]
    if protected != cbor.encode({1: -7, 3: _CONTENT_TYPE, 4: key_id}):
        raise HotpatchError("payload_malformed", "The protected header is not of the documented form.")
    if not signature:
        raise HotpatchError("payload_unsigned")
    if len(signature) != 2 * _HALF:
        raise HotpatchError("payload_malformed", "The signature is not 64 bytes long.")
    return SignedMessage(protected, key_id, content, signature)


def _check_signature(message: SignedMessage, trust: Trust, now: int) -> None:
    key = _key_of(message.kid, trust.keys)
    name = message.kid.hex()
    if message.kid in trust.revoked_keys:
        raise HotpatchError("payload_key_revoked", f"The key {name} that signed the payload is revoked.")
    if key is None:
        raise HotpatchError("payload_key_unknown", f"The payload is signed by the key {name}, which is not trusted here.")
    if key.not_after is not None and now > key.not_after:
        raise HotpatchError("payload_key_expired", f"The key '{key.name}' ({name}) has expired.")
    half = message.signature[:_HALF], message.signature[_HALF:]
    der = encode_dss_signature(int.from_bytes(half[0], "big"), int.from_bytes(half[1], "big"))
    try:
        _load_public(key.public_key).verify(der, _to_be_signed(message.protected, message.content), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise HotpatchError("payload_signature_invalid") from error


def _key_of(key_id: bytes, keys: Iterable[TrustedKey]) -> TrustedKey | None:
    return next((key for key in keys if key.kid == key_id), None)
