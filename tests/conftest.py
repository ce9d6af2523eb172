# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for every test: hosts of the lab come from the lab's own plugin."""

from __future__ import annotations

import os

from hypothesis import settings

pytest_plugins = ["lab.pytest_plugin"]

# The same examples in every run: a red build is then about the change. HYPOTHESIS_PROFILE=search looks for new ones.
settings.register_profile("steady", derandomize=True)
settings.register_profile("search")
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
