# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's command line: up, status, shell, logs, down."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

from lab.host import REPOSITORY
from lab.wine import processes_of_prefix


def lab_command(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}
    return subprocess.run(
        [sys.executable, "-m", "lab", *arguments], input=stdin, capture_output=True, env=environment, timeout=120, check=False
    )


@pytest.fixture
def root(lab_root: Path) -> Iterator[Path]:
    yield lab_root
    lab_command("down", "--root", str(lab_root))


def test_hosts_outlive_the_command_that_starts_them_and_end_with_down(root: Path) -> None:
    up = lab_command("up", "--hosts", "2", "--root", str(root))
    assert up.returncode == 0, up.stderr
    hosts = yaml.safe_load(up.stdout)["all"]["children"]["lab"]["hosts"]
    assert set(hosts) == {"web1", "web2"}
    assert yaml.safe_load((root / "inventory.yml").read_text()) == yaml.safe_load(up.stdout)
    for variables in hosts.values():
        url = f"https://{variables['ansible_host']}:{variables['ansible_port']}/wsman"
        assert requests.post(url, timeout=120, verify=variables["ansible_winrs_ca_cert"]).status_code == 401

    status = lab_command("status", "--root", str(root)).stdout.decode()
    assert [line.split()[:2] for line in status.splitlines()[1:]] == [["web1", "up"], ["web2", "up"]]
    shell = lab_command("shell", "--root", str(root), "web2", "cmd", "/c", "echo %COMPUTERNAME% & exit 12")
    assert (shell.returncode, shell.stdout.split()) == (12, [b"WEB2"])
    assert b"booted" in lab_command("logs", "--root", str(root), "web1").stdout
    assert lab_command("up", "--root", str(root)).returncode == 1

    assert lab_command("down", "--root", str(root)).returncode == 0
    for name in hosts:
        assert not processes_of_prefix(root / "hosts" / name / "prefix")
    assert lab_command("status", "--root", str(root)).returncode == 1


def test_a_host_that_does_not_exist_is_named(root: Path) -> None:
    result = lab_command("logs", "--root", str(root), "nobody")
    assert result.returncode == 1
    assert b"there is no host nobody" in result.stderr
