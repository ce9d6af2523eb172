# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Is a host on the level a package promises? Pure functions over ``host_info``."""

from __future__ import annotations

import re
import typing as t
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import Catalog, Facts
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.model import PRODUCTS, Build
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

_KB: t.Final = re.compile(r"KB[0-9]{6,8}\Z")


@dataclass(frozen=True)
class Promise:
    """What a package promises: its KB, and its build where that is known.

    ``shared``: other KBs of the catalog with the same build. Two of them can mean different things for the host (KB5070881 and
    KB5070893 are both 26100.6905, and only one keeps it on the hotpatch track), so then the build alone proves nothing.
    """

    kb: str
    build: Build | None
    shared: frozenset[str] = frozenset()

    @classmethod
    def of(cls, kb: str, build: str | None, catalog: Catalog) -> Promise:
        """From the options ``kb`` and ``build``, and the catalog for what they leave out.

        :raises HotpatchError: ``argument_invalid``.
        """
        if not _KB.match(kb):
            raise HotpatchError("argument_invalid", f"'{kb}' is not a KB like KB5082063.", where="kb")
        wanted = _parse(build) if build is not None else _known_build(kb, catalog)
        return cls(kb, wanted, _others(kb, wanted, catalog))

    def kept_by(self, facts: Facts) -> bool:
        """Whether the host is on the promised level, or on a later one of the same Windows.

        A later level counts: updates are cumulative, and a hotpatch's level is below the cumulative update of its own month.
        """
        listed = self.kb in facts.installed
        if self.build is None:
            return listed
        if facts.build is None or facts.build.number != self.build.number or facts.build < self.build:
            return False
        return listed or facts.build > self.build or not (self.shared & facts.installed)


def _parse(text: str) -> Build:
    try:
        return Build.parse(text)
    except ValueError as error:
        raise HotpatchError("argument_invalid", f"{error}.", where="build") from error


def _known_build(kb: str, catalog: Catalog) -> Build | None:
    found = (catalog.find(product, kb) for product in PRODUCTS)
    return next((entry[1].build for entry in found if entry is not None), None)


def _others(kb: str, build: Build | None, catalog: Catalog) -> frozenset[str]:
    return frozenset(
        update.kb
        for product in PRODUCTS
        for _month, entry in catalog.months(product)
        for update in entry.updates
        if build is not None and update.build == build and update.kb != kb
    )


def is_applicable(promise: Promise, facts: Facts) -> bool:
    """Whether the package is for this Windows at all; unknown builds are left to the installer."""
    return promise.build is None or facts.build is None or promise.build.number == facts.build.number


def level_text(facts: Facts) -> str | None:
    """The level as people write it."""
    return None if facts.build is None else str(facts.build)


def servicing_pending(info: Mapping[str, t.Any]) -> bool:
    """Whether Windows servicing waits for a reboot and installs nothing more before it."""
    return bool(Facts.from_host_info(info).pending)
