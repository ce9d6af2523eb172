# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller, and hosts that have the agent."""

from __future__ import annotations

import pytest

from lab.host import Host
from lab.pytest_plugin import MakeHost

from .controller import Controller


@pytest.fixture
def controller(tmp_path_factory: pytest.TempPathFactory) -> Controller:
    """Ansible, with a folder of its own."""
    return Controller(tmp_path_factory.mktemp("controller"))


@pytest.fixture
def ready_host(make_host: MakeHost) -> Host:
    """A fresh host with the agent installed as a service."""
    host = make_host()
    host.install_agent()
    return host
