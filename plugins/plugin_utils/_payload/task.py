# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What does a task say about the payload it wants built?

Apart from the rest of the file handling, because building needs the libraries for modules and machine code, and signing,
verifying and explaining do without.
"""

from __future__ import annotations

import datetime
import typing as t
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

from .build import Built, PayloadMeta, build
from .files import read


def meta_of(arguments: Mapping[str, t.Any], old_name: str, created: int) -> PayloadMeta:
    """What the task says about a payload to be built.

    :raises HotpatchError: ``argument_invalid``.
    """
    return PayloadMeta(
        id=arguments["id"],
        sequence=arguments["sequence"],
        title=arguments["title"] or arguments["id"],
        created=created,
        expires=_end_of_day(arguments["expires"]),
        target_name=arguments["target_name"] or old_name,
        cves=tuple(arguments["cves"]),
        replaces=tuple(arguments["replaces"]),
        overrides=frozenset(arguments["overrides"]),
    )


def _end_of_day(day: str) -> int:
    try:
        date = datetime.date.fromisoformat(day)
    except ValueError as error:
        raise HotpatchError("argument_invalid", f"'{day}' is not a day like 2027-03-31.", where="expires") from error
    return int(datetime.datetime.combine(date, datetime.time(23, 59, 59), datetime.UTC).timestamp())


def build_from(old: Path, new: Path, meta: PayloadMeta) -> Built:
    """Builds a payload from two files."""
    return build(read(old), read(new), meta)
