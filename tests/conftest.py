# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for every test: hosts of the lab come from the lab's own plugin."""

from __future__ import annotations

pytest_plugins = ["lab.pytest_plugin"]
