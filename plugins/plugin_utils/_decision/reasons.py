# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Why was it decided so? Every reason is a stable code and a sentence; this is the one table of both."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

TEXTS: t.Final[dict[str, str]] = {
    # -- what cannot be judged ------------------------------------------------------------------------------------------------
    "facts_incomplete": "The host did not report {missing}, so its level cannot be judged.",
    "product_without_hotpatch": "{product} has no hotpatch calendar. Payloads of the own list still apply to it.",
    "catalog_empty": "The catalog holds no month of {product}. Read the feed with hotpatch.windows.catalog.",
    "catalog_stale": "The catalog ends with {month}, and {due} is out. Read the newer feed with hotpatch.windows.catalog.",
    "catalog_lacks_lcu": "The catalog knows no cumulative update of {product} for {month}. Read that month's feed.",
    "catalog_lacks_baseline": "The catalog knows no baseline of {product} up to {month}. Read the feed of the quarter's baseline month.",
    "level_ambiguous": "Build {build} is shared by {kbs}, which differ in whether the host may go on with hotpatches, and none of them is "
    "listed as installed. Find out which one is, before anything is installed.",
    # -- where the host stands --------------------------------------------------------------------------------------------------
    "level_by_build_only": "Build {build} means {kb}, but Windows does not list that package as installed.",
    "level_unlisted": "Build {build} is no level of the hotpatch calendar (a preview, or an update outside the programme).",
    "wrong_track": "{kb} ({build}) is not on the hotpatch track: no hotpatch applies until the next baseline on {date}.",
    "up_to_date": "The host is on {kb} ({build}), the level of {month}.",
    "up_to_date_cumulative": "The host has the cumulative update of {month} and rejoins the hotpatch track with the baseline of {date}.",
    "reboot_pending": "A reboot is pending ({why}) and must come before anything else is installed.",
    # -- what comes next --------------------------------------------------------------------------------------------------------
    "hotpatch_available": "{kb} brings the host to the level of {month} without a reboot.",
    "companion_available": "{kb} goes beside the hotpatch and closes {cves}.",
    "baseline_planned": "{month} is a planned baseline: {kb} and a reboot.",
    "baseline_unplanned": "{month} was planned as a hotpatch month, but Microsoft published no hotpatch for {product}: {kb} and a reboot.",
    "baseline_missed": "The host has not taken the baseline of {month} ({kb}), on which the quarter's hotpatches build.",
    "cumulative_update_due": "The cumulative update {kb} of {month} is missing.",
    "policy_no_hotpatch": "Policy keeps this host on cumulative updates.",
    # -- residual risk ------------------------------------------------------------------------------------------------------------
    "residual_exploited": "{cves} stays open and is exploited: policy calls for {kb} and a reboot now.",
    "residual_critical": "{cves} stays open and is critical: policy calls for {kb} and a reboot now.",
    "residual_cvss_above": "{cves} stays open with a CVSS score above policy's limit: {kb} and a reboot now.",
    "residual_named": "{cves} stays open and is named by policy: {kb} and a reboot now.",
    "residual_no_remedy": "{cves} stays open and policy calls for a reboot now, but no package that closes it is known.",
    "residual_waits": "{count} CVEs stay open until the baseline of {date}.",
    "residual_unknown": "Which CVEs stay open is not known for {months}: the feed of these months was not read.",
    "leaves_track": "{kb} takes the host off the hotpatch track until the baseline of {date}.",
    # -- prerequisites ---------------------------------------------------------------------------------------------------------------
    "not_eligible": "Not met: {codes}.",
    "not_enrolled": "The host can hotpatch and is not enrolled: {codes}.",
    # -- packages ------------------------------------------------------------------------------------------------------------------
    "package_wrong_track": "{kb} would take the host off the hotpatch track until the baseline of {date}.",
    "package_not_applicable": "{kb} is a package of {owner}, not of {product}.",
    # -- payloads ------------------------------------------------------------------------------------------------------------------
    "payload_contained": "{kb} on the host contains the fix.",
    "payload_unlisted": "The catalog's own list has no fix of this id.",
    # -- the fleet ------------------------------------------------------------------------------------------------------------------
    "nothing_to_do": "There is nothing to do.",
    "done": "Done in this run.",
    "failed": "Failed in this run.",
    "needs_person": "A person must decide first.",
    "window_closed": "A reboot is needed and the window {window} is closed; it opens at {opens}.",
    "window_never": "A reboot is needed and the window {window} does not open in the next {days} days outside of freezes.",
    "freeze": "A reboot is needed and changes are frozen until {until}: {why}.",
    "ring_waits": "The ring {ring} is not done.",
    "ring_soaks": "The ring {ring} soaks until {until}.",
    "budget_used": "{failed} hosts of the ring {ring} failed ({hosts}); its budget is {budget}.",
    "in_no_ring": "The host is in no ring.",
}


@dataclass(frozen=True)
class Reason:
    """A code of :data:`TEXTS` and its sentence with the names filled in."""

    code: str
    text: str


def reason(code: str, **names: object) -> Reason:
    """The reason with this code; ``names`` fill the places of its text."""
    return Reason(code, TEXTS[code].format(**names))
