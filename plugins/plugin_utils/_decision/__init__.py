# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""The decision: pure functions over plain data. docs/decision.md has the shapes and how they are used."""

from __future__ import annotations

from .assessment import Action, ActionKind, Assessment, Detail, Step, Verdict
from .catalog import Catalog, Fix, ProductMonth, Source, Update, Vulnerability, merge
from .facts import Facts
from .feed import read_catalog
from .feed_document import parse_feed
from .fleet import FleetPlan, Progress, plan_fleet
from .model import PRODUCTS, Build, Month, Track, UpdateKind
from .plan import assess, check_package
from .policy import Policy, Ring, read_rings
from .reasons import Reason

__all__ = [
    "PRODUCTS",
    "Action",
    "ActionKind",
    "Assessment",
    "Build",
    "Catalog",
    "Detail",
    "Facts",
    "Fix",
    "FleetPlan",
    "Month",
    "Policy",
    "ProductMonth",
    "Progress",
    "Reason",
    "Ring",
    "Source",
    "Step",
    "Track",
    "Update",
    "UpdateKind",
    "Verdict",
    "Vulnerability",
    "assess",
    "check_package",
    "merge",
    "parse_feed",
    "plan_fleet",
    "read_catalog",
    "read_rings",
]
