# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of the lab with the agent on them, spoken to directly: no controller and no WS-Man in between."""

from __future__ import annotations

import pytest
from agent_driver import HOME, Agent, sent
from payload_driver import Signer

from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload import cose
from lab.host import Host
from lab.orders import OrdersService

pytest_plugins = ["lab.pytest_plugin"]


@pytest.fixture
def agent(host: Host) -> Agent:
    """A fresh host and the agent as a file on it, not installed: every call is one for itself."""
    return sent(host)


@pytest.fixture
def resident(agent: Agent) -> Agent:
    """The same with the agent installed as a service."""
    agent.command("install").result()
    assert agent.host.path(HOME).is_dir()
    return agent


@pytest.fixture(scope="session")
def signer() -> Signer:
    """The key that hosts are told to trust."""
    return Signer(cose.generate_key())


@pytest.fixture(scope="session")
def fix(signer: Signer) -> bytes:
    """The signed payload that closes the holes of the lab's service."""
    return signer.fix()


@pytest.fixture
def service(resident: Agent) -> OrdersService:
    """The vulnerable service on a host with the agent."""
    return resident.host.install_target()
