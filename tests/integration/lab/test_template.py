# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts share the files of one template, and none of them can change it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from lab import Host
from lab.lab import CACHE
from lab.pytest_plugin import MakeHost
from lab.template import _manifest, ensure_template
from lab.wine import Wine

SYSTEM_DLL = r"C:\windows\system32\cabinet.dll"


@pytest.fixture
def template_prefix() -> Path:
    return ensure_template(CACHE, Wine.find()).prefix


def test_a_clone_takes_next_to_no_room(make_host: MakeHost, template_prefix: Path) -> None:
    host = make_host(boot=False)
    own = sum(path.stat().st_size for path in host.prefix.rglob("*") if path.is_file() and path.stat().st_nlink == 1)
    whole = sum(path.stat().st_size for path in template_prefix.rglob("*") if path.is_file())
    assert own * 20 < whole


@pytest.mark.parametrize(
    "attempt",
    [
        f"echo broken> {SYSTEM_DLL}",
        f"copy /y C:\\windows\\win.ini {SYSTEM_DLL}",
        f"attrib -r {SYSTEM_DLL} & copy /y C:\\windows\\win.ini {SYSTEM_DLL}",
    ],
)
def test_a_hosts_writes_never_reach_the_template(host: Host, template_prefix: Path, attempt: str) -> None:
    before = _manifest(template_prefix)
    content = (template_prefix / "drive_c/windows/system32/cabinet.dll").read_bytes()
    host.run(["cmd", "/c", attempt])
    host.registry_set(r"HKLM\SOFTWARE\hotpatch.windows\Test", "only", "here")
    host.path(r"C:\ProgramData\file").write_text("only here")
    host.down()
    assert (template_prefix / "drive_c/windows/system32/cabinet.dll").read_bytes() == content
    assert _manifest(template_prefix) == before
    assert "hotpatch.windows\\\\Test" not in (template_prefix / "system.reg").read_text()
    assert not (template_prefix / "drive_c/ProgramData/file").exists()


def test_a_host_may_replace_a_shared_file_by_another(host: Host, template_prefix: Path) -> None:
    content = (template_prefix / "drive_c/windows/system32/cabinet.dll").read_bytes()
    place = host.path(SYSTEM_DLL)
    place.unlink()
    place.write_bytes(b"another file")
    assert (template_prefix / "drive_c/windows/system32/cabinet.dll").read_bytes() == content


@pytest.mark.slow
def test_a_damaged_template_is_found_and_built_again(lab_root: Path, template_prefix: Path) -> None:
    damaged = lab_root / template_prefix.parent.name
    shutil.copytree(template_prefix.parent, damaged, symlinks=True, copy_function=os.link)
    victim = damaged / "prefix/drive_c/windows/system32/cabinet.dll"
    content = victim.read_bytes()
    victim.unlink()
    victim.write_bytes(b"damaged")
    again = ensure_template(lab_root, Wine.find())
    assert again.folder == damaged
    assert (again.prefix / "drive_c/windows/system32/cabinet.dll").read_bytes() == content


def test_ten_hosts_run_side_by_side(make_host: MakeHost) -> None:
    started = time.monotonic()
    hosts = [make_host() for _ in range(10)]
    print(f"{(time.monotonic() - started) / len(hosts):.2f} s a host, created and booted")
    assert len({host.http_port for host in hosts} | {host.https_port for host in hosts}) == 20
    for host in hosts:
        host.registry_set(r"HKLM\SOFTWARE\hotpatch.windows\Test", "name", host.name)
    for host in hosts:
        assert host.registry_get(r"HKLM\SOFTWARE\hotpatch.windows\Test", "name") == host.name
        assert host.run(["cmd", "/c", "echo %COMPUTERNAME%"]).stdout.split() == [host.name.upper().encode()]
