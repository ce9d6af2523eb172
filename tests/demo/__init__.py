# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo: a quarter of a small fleet, with the product's own playbooks on real Windows programs (``python -m demo``)."""
