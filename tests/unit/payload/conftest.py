# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds of the lab's DLL and keys, made once for all tests of payloads."""

from __future__ import annotations

import functools

import pytest

from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload import cose
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload.build import Built, PayloadMeta, build
from lab import targets

META = PayloadMeta(
    id="orders-2026-11",
    sequence=3,
    title="Over-read in the echo request",
    created=1_790_000_000,
    expires=1_800_000_000,
    target_name="orders.dll",
    cves=("CVE-2026-31337",),
    replaces=("orders-2026-10",),
)


@functools.cache
def dll(version: str, *, padded: bool = True) -> bytes:
    """One build of orders.dll."""
    return targets.build(version, padded=padded).dll.read_bytes()


@functools.cache
def fix(version: str, *, old: str = "v1", padded: bool = True) -> Built:
    """The payload that leads from one build to another."""
    return build(dll(old, padded=padded), dll(version, padded=padded), META)


@pytest.fixture(scope="session")
def key() -> bytes:
    """A private key in PEM form."""
    return cose.generate_key()


@pytest.fixture(scope="session")
def trust(key: bytes) -> cose.Trust:
    """Trusts that key."""
    return cose.Trust((cose.TrustedKey(cose.public_key_of(key), "tests"),))


@pytest.fixture(scope="session")
def signed(key: bytes) -> bytes:
    """A signed payload."""
    return cose.sign(fix("v2").content, key)
