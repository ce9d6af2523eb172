# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures that give a test its Windows hosts."""

from __future__ import annotations

import itertools
import os
import typing as t
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.host import Host
from lab.lab import CACHE, Lab
from lab.spec import HostSpec
from lab.wine import living_processes

MakeHost = Callable[..., Host]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def lab_folder() -> Iterator[Path]:
    """Where this session's labs are: beside the template, because hosts are hard links of its files and /tmp may be another disk.

    What sessions left that were killed is removed first.
    """
    for old in CACHE.glob("pytest-*"):
        if int(old.name.removeprefix("pytest-")) not in living_processes():
            for root in old.iterdir():
                Lab(root).remove()
            old.rmdir()
    folder = CACHE / f"pytest-{os.getpid()}"
    folder.mkdir(parents=True)
    yield folder
    for root in folder.iterdir():
        Lab(root).remove()
    folder.rmdir()


@pytest.fixture(scope="session")
def lab(lab_folder: Path) -> Iterator[Lab]:
    """The session's lab. It ends with the session, however that ends."""
    with Lab(lab_folder / "session") as running:
        yield running


@pytest.fixture
def lab_root(lab_folder: Path) -> Path:
    """A folder for a test that runs a lab of its own."""
    return lab_folder / f"own{next(_numbers)}"


@pytest.fixture
def make_host(lab: Lab) -> Iterator[MakeHost]:
    """Makes hosts that live as long as the test: ``make_host(ubr=32690, vbs="off")`` boots one with these facts.

    ``boot=False`` leaves it switched off; the name is made up unless one is given.
    """
    made: list[Host] = []

    def make(*, boot: bool = True, **spec: t.Any) -> Host:
        host = lab.create(HostSpec(**{"name": f"test{next(_numbers)}", **spec}))
        made.append(host)
        if boot:
            host.up()
        return host

    yield make
    for host in made:
        lab.destroy(host)


@pytest.fixture
def host(make_host: MakeHost) -> Host:
    """A fresh host, for this test alone."""
    return make_host()


@pytest.fixture(scope="session")
def shared_host(lab: Lab) -> Host:
    """One host for the whole session: for tests that leave it as they found it."""
    host = lab.create(HostSpec("shared"))
    host.up()
    return host
