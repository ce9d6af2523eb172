# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What are a build, a month, a KB and a product? The small words of the decision."""

from __future__ import annotations

import datetime
import enum
import re
import typing as t
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Build:
    """A Windows build and its revision (UBR): ``26100.32772``."""

    number: int
    ubr: int

    @classmethod
    def parse(cls, text: str) -> t.Self:
        """From ``26100.32772``; raises ValueError."""
        found = re.fullmatch(r"([0-9]{4,6})\.([0-9]{1,6})", text)
        if found is None:
            raise ValueError(f"{text!r} is not a build like 26100.32772")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}.{self.ubr}"


@dataclass(frozen=True, order=True)
class Month:
    """A month of the calendar: ``2026-05``."""

    year: int
    month: int

    @classmethod
    def parse(cls, text: str) -> t.Self:
        """From ``2026-05``; raises ValueError."""
        found = re.fullmatch(r"(20[0-9]{2})-(0[1-9]|1[0-2])", text)
        if found is None:
            raise ValueError(f"{text!r} is not a month like 2026-05")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of(cls, day: datetime.date) -> t.Self:
        """The month a day lies in."""
        return cls(day.year, day.month)

    def next(self, count: int = 1) -> Month:
        """The month ``count`` months later (earlier when negative)."""
        index = self.year * 12 + self.month - 1 + count
        return Month(index // 12, index % 12 + 1)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"


class UpdateKind(enum.Enum):
    """What a package is to its month."""

    LCU = "lcu"
    HOTPATCH = "hotpatch"
    OUT_OF_BAND = "out_of_band"
    COMPANION = "companion"
    """Goes beside the month's hotpatch and closes something the hotpatch leaves out, as KB5074204 did in December 2025."""
    OTHER = "other"
    """Named by the month's document but no package of this product's tracks (an update of the recovery environment, say)."""


class Track(enum.Enum):
    """Which sequence of updates a host stands on."""

    HOTPATCH = "hotpatch"
    CUMULATIVE = "cumulative"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Product:
    """A product of Windows Server as the catalog keys it.

    ``feed_name`` is the feed's name without the suffix of Core installations, which are product ids of their own there.
    ``sibling_builds`` are builds of the same servicing family whose number the feed sometimes gives instead (2025-Jul: 26200 for 26100).
    """

    key: str
    title: str
    build: int
    feed_name: str
    hotpatch: bool
    sibling_builds: frozenset[int] = frozenset()


PRODUCTS: t.Final[dict[str, Product]] = {
    product.key: product
    for product in (
        Product("windows_server_2025", "Windows Server 2025", 26100, "Windows Server 2025", True, frozenset({26200})),
        Product("windows_server_2022", "Windows Server 2022", 20348, "Windows Server 2022", True),
        Product("windows_server_2019", "Windows Server 2019", 17763, "Windows Server 2019", False),
        Product("windows_server_2016", "Windows Server 2016", 14393, "Windows Server 2016", False),
    )
}


def product_of(build: Build, installation_type: str) -> Product | None:
    """The product with this build, or None.

    Client Windows shares build numbers with servers but not their revisions (since January 2026: 26100.7623 and 26100.32230), so
    only server installations count.
    """
    if not installation_type.startswith("Server"):
        return None
    return next((product for product in PRODUCTS.values() if product.build == build.number), None)
