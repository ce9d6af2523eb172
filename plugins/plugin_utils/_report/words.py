# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Which words does the report use for verdicts, actions and places?"""

from __future__ import annotations

import typing as t

VERDICTS: t.Final[dict[str, str]] = {
    "current": "Up to date",
    "hotpatch": "Hotpatch ready",
    "baseline": "Baseline due",
    "cumulative_update": "Update and reboot",
    "not_enrolled": "Not enrolled",
    "not_eligible": "Not eligible",
    "blocked": "Needs a decision",
    "no_answer": "No answer",
}
"""In the order in which the report shows them: what is fine first, what nobody can judge last."""

ACTIONS: t.Final[dict[str, str]] = {
    "none": "Nothing",
    "reboot": "Reboot",
    "enroll": "Enrol",
    "hotpatch": "Hotpatch",
    "baseline": "Baseline",
    "cumulative_update": "Cumulative update",
}

TRACKS: t.Final[dict[str, str]] = {"hotpatch": "hotpatch track", "cumulative": "cumulative updates", "unknown": "track unknown"}

DETAILS: t.Final[dict[str, str]] = {"planned": "planned", "unplanned": "unplanned", "missed": "missed"}

REMEDIES: t.Final[dict[str, str]] = {
    "none": "None is needed.",
    "apply": "Apply the payload again.",
    "restart_service": "Restart the service.",
    "restart_process": "Restart the process.",
    "reboot": "Reboot the host.",
}

SEVERITIES: t.Final = ("Critical", "Important", "Moderate", "Low")
