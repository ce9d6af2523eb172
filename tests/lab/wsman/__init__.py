# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A WS-Management service as Windows offers it: what pywinrm and pypsrp speak to."""
