# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""From a task's options to what the decision takes: catalog, policy and date."""

from __future__ import annotations

import datetime
import typing as t
from collections.abc import Callable, Mapping
from pathlib import Path

from ansible_collections.hotpatch.windows.plugins.plugin_utils._catalog_files import load_catalog, shipped_catalog
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import Catalog, Facts, Policy, merge
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

FACT_SECTIONS: t.Final = ["host", "updates", "enrollment", "vbs", "arc", "pending_reboot", "boot", "payloads"]
"""The sections of ``host_info`` that judging a host needs."""


def catalog_of(arguments: Mapping[str, t.Any], find: Callable[[str, str], Path]) -> Catalog:
    """The catalog of the options ``shipped_catalog`` and ``catalogs``, later files winning."""
    parts = [shipped_catalog()] if arguments["shipped_catalog"] else []
    parts += [load_catalog(find(name, "catalogs")) for name in arguments["catalogs"]]
    return merge(parts)


def policy_of(arguments: Mapping[str, t.Any]) -> Policy:
    """The policy of the option ``policy``."""
    return Policy.from_dict(arguments["policy"])


def date_of(text: str | None) -> datetime.date:
    """The day of an option, today in UTC without one."""
    if text is None:
        return datetime.datetime.now(datetime.UTC).date()
    try:
        return datetime.date.fromisoformat(text)
    except ValueError as error:
        raise HotpatchError("argument_invalid", f"'{text}' is not a day like 2026-05-16.", where="date") from error


def facts_of(info: Mapping[str, t.Any]) -> Facts:
    """What is judged, out of ``host_info``."""
    return Facts.from_host_info(info)
