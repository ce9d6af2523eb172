# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers for the tests of the lab itself."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pypsrp.shell import WinRS
from pypsrp.wsman import WSMan

from lab import Host
from lab.template import COMPILER

WindowsProgram = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs hosts."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.lab)


@pytest.fixture
def windows_program(tmp_path: Path) -> WindowsProgram:
    """Compiles a C source to a Windows program."""

    def compile_program(name: str, source: str, *libraries: str) -> Path:
        code = tmp_path / f"{name}.c"
        code.write_text(source)
        program = tmp_path / f"{name}.exe"
        links = [f"-l{library}" for library in libraries]
        subprocess.run([COMPILER, "-municode", "-O1", "-o", str(program), str(code), *links], check=True)
        return program

    return compile_program


def connect(host: Host, *, ssl: bool = False, auth: str = "basic", user: str | None = None, password: str | None = None) -> WSMan:
    """A pypsrp connection to a host of the lab."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WSMan(
            host.address,
            port=host.https_port if ssl else host.http_port,
            username=host.user if user is None else user,
            password=host.password if password is None else password,
            ssl=ssl,
            auth=auth,
            encryption="never" if auth == "basic" else "auto",
            cert_validation=str(host.certificate),
            operation_timeout=20,
        )


@contextmanager
def shell_on(host: Host, **options: object) -> Iterator[WinRS]:
    """An open WinRS shell, over HTTP with Basic."""
    with connect(host) as wsman, WinRS(wsman, **options) as shell:
        yield shell
