# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does a hotpatch cost? Measured on hosts of the lab, each figure beside the least that the host asks for the same thing."""
