# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of the lab with the agent on them, spoken to directly: no controller and no WS-Man in between."""

from __future__ import annotations

import shutil

import pytest
from agent_driver import BUILD, HOME, SENT_AGENT, Agent

from lab.host import Host

pytest_plugins = ["lab.pytest_plugin"]


@pytest.fixture
def agent(host: Host) -> Agent:
    """A fresh host and the agent as a file on it, not installed: every call is one for itself."""
    place = host.path(SENT_AGENT)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(BUILD / "hotpatch-agent-lab.exe", place)
    return Agent(host)


@pytest.fixture
def resident(agent: Agent) -> Agent:
    """The same with the agent installed as a service."""
    agent.command("install").result()
    assert agent.host.path(HOME).is_dir()
    return agent
