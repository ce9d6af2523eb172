# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that files come to a host by, and a disk that is full."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import tarfile

import pytest

from lab import Host, HostSpec, Lab
from lab.quota import is_limited

DATA = bytes(range(256)) * 777 + b"the end"
STORE = r"C:\ProgramData\hotpatch.windows"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def archive(members: dict[str, bytes], form: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["ustar", "gnu", "pax"])
def test_tar_unpacks_what_it_is_sent(shared_host: Host, form: int) -> None:
    folder = shared_host.path(r"C:\unpacked")
    folder.mkdir(exist_ok=True)
    members = {"large.bin": DATA, "empty": b"", "n" * 90: b"long name"}
    if form != tarfile.USTAR_FORMAT:
        members["m" * 150] = b"longer name"
        members["grün.txt"] = b"another alphabet"
    result = shared_host.run(["tar", "-xf", "-", "-C", r"C:\unpacked"], stdin=archive(members, form))
    assert (result.returncode, result.stderr) == (0, b"")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == members
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize("name", ["../out", "/out", r"..\out", "C:/out", "a/../../out"])
def test_tar_does_not_leave_its_folder(shared_host: Host, name: str) -> None:
    shared_host.path(r"C:\unpacked").mkdir(exist_ok=True)
    result = shared_host.run(["tar", "-xf", "-", "-C", r"C:\unpacked"], stdin=archive({name: b"bad"}, tarfile.PAX_FORMAT))
    assert result.returncode == 1
    assert not shared_host.path(r"C:\out").exists()


@pytest.mark.parametrize("cut", [0, 100, 512 + 1000])
def test_tar_says_when_its_input_ends_too_early(shared_host: Host, cut: int) -> None:
    shared_host.path(r"C:\unpacked").mkdir(exist_ok=True)
    result = shared_host.run(["tar", "-xf", "-", "-C", r"C:\unpacked"], stdin=archive({"cut.bin": DATA}, tarfile.PAX_FORMAT)[:cut])
    assert result.returncode == 1
    assert result.stderr
    assert not shared_host.path(r"C:\unpacked\cut.bin").exists()


def test_tar_packs_a_file(shared_host: Host) -> None:
    shared_host.path(r"C:\packed.bin").write_bytes(DATA)
    result = shared_host.run(["tar", "-cf", "-", "-C", "C:\\", "packed.bin"])
    with tarfile.open(fileobj=io.BytesIO(result.stdout)) as tar:
        member = tar.extractfile("packed.bin")
        assert member is not None
        assert member.read() == DATA


def test_certutil_decodes_and_hashes(shared_host: Host) -> None:
    shared_host.path(r"C:\text.b64").write_bytes(
        b"-----BEGIN CERTIFICATE-----\r\n" + base64.encodebytes(DATA) + b"-----END CERTIFICATE-----\r\n"
    )
    assert shared_host.run(["certutil", "-f", "-decode", r"C:\text.b64", r"C:\decoded.bin"]).returncode == 0
    assert shared_host.path(r"C:\decoded.bin").read_bytes() == DATA
    hashed = shared_host.run(["certutil", "-hashfile", r"C:\decoded.bin", "SHA256"])
    assert hashed.stdout.decode().splitlines()[1] == hashlib.sha256(DATA).hexdigest()


def test_certutil_fails_as_windows_does(shared_host: Host) -> None:
    shared_host.path(r"C:\text.b64").write_bytes(base64.encodebytes(DATA))
    shared_host.path(r"C:\there.bin").write_bytes(b"there")
    assert shared_host.run(["certutil", "-decode", r"C:\text.b64", r"C:\there.bin"]).returncode == 0x80070050
    assert shared_host.path(r"C:\there.bin").read_bytes() == b"there"
    shared_host.path(r"C:\text.b64").write_bytes(b"!!! not base64 !!!")
    assert shared_host.run(["certutil", "-f", "-decode", r"C:\text.b64", r"C:\there.bin"]).returncode == 0x8007000D
    assert shared_host.run(["certutil", "-hashfile", r"C:\missing.bin"]).returncode == 0x80070002


@needs_root
def test_a_full_disk_refuses_writes_and_keeps_what_is_there(host: Host) -> None:
    store = host.path(STORE)
    store.mkdir(parents=True)
    (store / "kept").write_bytes(DATA)
    host.set_store_quota(64 * 1024)
    try:
        unpack = ["tar", "-xf", "-", "-C", STORE]
        full = host.run(unpack, stdin=archive({"large.bin": bytes(200_000)}, tarfile.PAX_FORMAT))
        assert full.returncode == 1
        assert b"error 112" in full.stderr
        assert host.run(unpack, stdin=archive({"small.bin": b"fits"}, tarfile.PAX_FORMAT)).returncode == 0
        assert (store / "kept").read_bytes() == DATA
    finally:
        host.set_store_quota(None)
    assert not is_limited(store)
    assert {path.name for path in store.iterdir()} == {"kept", "small.bin"}
    assert host.run(unpack, stdin=archive({"large.bin": bytes(200_000)}, tarfile.PAX_FORMAT)).returncode == 0


@needs_root
def test_a_host_that_is_destroyed_takes_its_full_disk_along(lab: Lab) -> None:
    host = lab.create(HostSpec("fulldisk"))
    host.set_store_quota(4096)
    store = host.path(STORE)
    assert is_limited(store)
    lab.destroy(host)
    assert not is_limited(store)
    assert not host.prefix.exists()
