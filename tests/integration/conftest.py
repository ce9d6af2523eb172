# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller, hosts that have the agent, and a signed fix for the lab's service."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.host import Host
from lab.orders import OrdersService
from lab.pytest_plugin import MakeHost

from .controller import Controller
from .fixes import Fix, Key, build_fix, make_key


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


@pytest.fixture(scope="session")
def fix_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where keys and payloads lie."""
    return tmp_path_factory.mktemp("fixes")


@pytest.fixture(scope="session")
def key(fix_folder: Path) -> Key:
    """The signing key that hosts are told to trust."""
    return make_key(fix_folder / "signing.pem")


@pytest.fixture(scope="session")
def fix(fix_folder: Path, key: Key) -> Fix:
    """The payload that closes both holes of the service."""
    return build_fix(Controller(fix_folder / "controller"), key, fix_folder / "orders-2026-11.hpp1")


@pytest.fixture
def service(ready_host: Host) -> OrdersService:
    """The vulnerable service, running on the host with the agent."""
    return ready_host.install_target()


@pytest.fixture
def trusting_host(ready_host: Host, service: OrdersService, controller: Controller, key: Key) -> Host:
    """A host with agent and vulnerable service that trusts the key."""
    del service
    result = controller.task("agent", {"trusted_keys": key.trusted}, ready_host)
    assert "failed" not in result, result
    return ready_host
