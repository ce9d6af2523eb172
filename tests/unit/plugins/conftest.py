# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An agent program on the controller, and a host that has it installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from .fakes import FakeHost, own_program


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """The controller's agent program."""
    path = tmp_path / "hotpatch-agent.exe"
    path.write_bytes(b"MZ agent of this release")
    return path


@pytest.fixture
def host(agent: Path) -> FakeHost:
    """A host on which this release's agent is installed."""
    return FakeHost(programs={own_program(agent)})
