# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures that give a test its Windows hosts."""

from __future__ import annotations

import itertools
import typing as t
from collections.abc import Callable, Iterator

import pytest

from lab.host import Host
from lab.lab import Lab
from lab.spec import HostSpec

MakeHost = Callable[..., Host]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The session's lab. It ends with the session, however that ends."""
    with Lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


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
