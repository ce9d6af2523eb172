# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What is in a payload, and why, for people to read?"""

from __future__ import annotations

import typing as t

from .format import PatchedFunction, Payload


def explain(payload: Payload) -> dict[str, t.Any]:
    """What a payload says by itself: identity, target, and what happens to each function."""
    return {
        "id": payload.id,
        "sequence": payload.sequence,
        "title": payload.title,
        "cves": list(payload.cves),
        "replaces": list(payload.replaces),
        "created": payload.created,
        "expires": payload.expires,
        "quiescence": payload.quiescence.value,
        "target": {
            "name": payload.target.name,
            "sha256": payload.target.sha256.hex(),
            "size": payload.target.size,
            "checksum": payload.target.checksum,
            "timestamp": payload.target.timestamp,
            "image_size": payload.target.image_size,
        },
        "region": {
            "size": payload.region_size,
            "sections": [
                {"offset": section.offset, "size": section.size, "protection": section.protection.value} for section in payload.sections
            ],
            "fixups": len(payload.fixups),
            "unwind": len(payload.unwind),
        },
        "functions": [_function(payload, function) for function in payload.functions],
    }


def _function(payload: Payload, function: PatchedFunction) -> dict[str, t.Any]:
    """One function; the size of its new code is that of the unwind entries at its entry, 0 for a leaf without any."""
    size = sum(row.end - row.begin for row in payload.unwind if row.begin == function.entry)
    return {
        "name": function.name,
        "rva": function.rva,
        "length": function.length,
        "new_length": size,
        "entry": function.entry,
        "redirect": function.redirect.value,
        "overwrite": function.overwrite,
    }
