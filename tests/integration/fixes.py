# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed fixes for the lab's service, built by the collection's own playbook."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lab import targets
from lab.orders import OrdersService

from .controller import Controller, Json


@dataclass(frozen=True)
class Key:
    """A signing key: the private half as a file, the public half as PEM."""

    path: Path
    public: str

    @property
    def trusted(self) -> list[Json]:
        """For the option ``trusted_keys``."""
        return [{"name": "tests", "public_key": self.public}]


def make_key(path: Path) -> Key:
    """A new P-256 key."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Key(path, public.decode())


@dataclass(frozen=True)
class Fix:
    """A payload and its id."""

    path: Path
    id: str

    @property
    def sha256(self) -> str:
        """By which hosts know it."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def own_list(self, path: Path, **packages: Json) -> Path:
        """A catalog that says that this payload is wanted and where packages lie."""
        entry = {
            "id": self.id,
            "title": "Over-read in the echo request",
            "cves": ["CVE-2026-31337"],
            "severity": "Critical",
            "cvss": 9.8,
            "exploited": True,
            "module": "orders.dll",
            "products": [],
            "payload": {"file": str(self.path), "sha256": self.sha256, "sequence": 1},
            "refusal": None,
            "contained_in": [],
        }
        path.write_text(yaml.safe_dump({"schema": 1, "fixes": [entry], "packages": packages}))
        return path


def build_fix(controller: Controller, key: Key, dest: Path, *, old: str = "v1", new: str = "v2", identity: str = "orders-2026-11") -> Fix:
    """Build and sign with the playbook ``build_payload``."""
    variables = {
        "payload_old": str(targets.build(old).dll),
        "payload_new": str(targets.build(new).dll),
        "payload_dest": str(dest),
        "payload_id": identity,
        "payload_title": "Over-read in the echo request and in the notes",
        "payload_cves": ["CVE-2026-31337"],
        "payload_expires": "2030-03-31",
        "payload_key": str(key.path),
    }
    controller.play("hotpatch.windows.build_payload", [], variables=variables).expect()
    return Fix(dest, identity)


def leaks(service: OrdersService) -> list[bool]:
    """Which of the exploits work against the service at the moment."""
    return [exploit.proves(service.get(exploit.path)[1]) for exploit in targets.EXPLOITS]
