# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What did building a payload find, for people to read?"""

from __future__ import annotations

import typing as t

from .explain import explain
from .extraction import Extraction
from .format import FixupBase, Payload
from .functions import Function, RefKind
from .matching import Matching
from .refusal import Finding


def explain_build(
    matching: Matching, extraction: Extraction, payload: Payload, why: str, accepted: list[Finding], checked: int
) -> dict[str, t.Any]:
    """What building found: as :func:`explain`, and why each function changed, what it refers to, and what was carried with it."""
    result = explain(payload)
    result["quiescence_reason"] = why
    result["overridden"] = [finding.as_dict() for finding in accepted]
    result["compared"] = {
        "functions": len(matching.pairs),
        "changed": len(matching.changed),
        "new": len(matching.added),
        "gone": len(matching.removed),
    }
    result["proven_references"] = checked
    result["carried"] = [
        {"kind": piece.kind.value, "offset": piece.offset, "size": len(piece.data), "rva_in_new_build": piece.rva}
        for piece in extraction.region.pieces
    ]
    result["new_functions"] = [function.name for function in extraction.added]
    by_rva = {item.old.rva: item for item in matching.changed}
    for row in result["functions"]:
        item = by_rva[row["rva"]]
        row["new_length"] = item.new.length
        row["why"] = [reason.value for reason in item.reasons]
        row["references"] = _references(matching, item.new)
    result["references_to_target"] = sum(1 for fixup in payload.fixups if fixup.base is FixupBase.TARGET)
    return result


def _references(matching: Matching, function: Function) -> list[dict[str, t.Any]]:
    """What the new code refers to, each thing once."""
    seen: dict[int, dict[str, t.Any]] = {}
    for reference in function.references:
        seen.setdefault(reference.target, {"kind": reference.kind.value, "to": _describe(matching, reference.target, reference.kind)})
    return list(seen.values())


def _describe(matching: Matching, target: int, kind: RefKind) -> str:
    image = matching.new.image
    if target in image.imports:
        return image.imports[target]
    function = matching.new.containing(target)
    if function is not None:
        partner = matching.old_function(function.rva)
        return partner.name if partner else f"{function.name} (new)"
    section = image.section_at(target)
    if section is None:
        return f"{target:#x}"
    if not section.writable and kind is RefKind.ADDRESS:
        text = image.read(target, 60).split(b"\0", 1)[0]
        if len(text) > 3 and all(0x20 <= byte < 0x7F for byte in text):
            return f'"{text.decode("ascii")}"'
    old = matching.data.resolve(target) if section.writable else None
    return f"{section.name}+{target - section.rva:#x}" + (f" (old {old:#x})" if old is not None else "")
