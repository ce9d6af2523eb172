# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""From the old and the new build of a module to a payload's content, or the reason why there can be none."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from . import extraction, format, functions, matching, pe, proof, redirect, refusal
from .explain_build import explain_build
from .region import InRegion, PieceKind

_MAX_TITLE = 200


@dataclass(frozen=True)
class PayloadMeta:
    """What the two files do not say."""

    id: str
    sequence: int
    title: str
    created: int
    """Seconds since 1970 UTC, as ``expires``."""
    expires: int
    target_name: str
    """File name of the module, as processes load it."""
    cves: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    overrides: frozenset[str] = field(default_factory=frozenset)
    """Refusals that the caller takes responsibility for: ``code`` or ``code@0x<rva of the old build>``."""


@dataclass(frozen=True)
class Built:
    """A payload, its bytes before signing, and what was found and decided on the way."""

    payload: format.Payload
    content: bytes
    explanation: dict[str, t.Any]


def build(old: bytes, new: bytes, meta: PayloadMeta) -> Built:
    """Builds and proves a payload. The same inputs always give the same bytes.

    :param old: the file that hosts run.
    :param new: the file with the fix.
    :raises HotpatchError: a ``build_*`` code; ``payload_malformed`` for an id, title or CVE that the format does not allow.
    """
    old_program, new_program = (functions.analyse(pe.parse(data, name)) for data, name in ((old, "old"), (new, "new")))
    matched = matching.match(old_program, new_program)
    accepted = refusal.check(matched, refusal.Overrides(meta.overrides))
    extracted = extraction.extract(matched)
    patched = []
    for item in matched.changed:
        entry = extracted.region.offset_of(InRegion(PieceKind.FUNCTION, item.new.rva))
        patched.append(redirect.redirect(old_program, item.old, entry))
    patched.sort(key=lambda function: function.rva)
    quiescence, why = redirect.quiescence(matched, patched)
    image = old_program.image
    payload = format.Payload(
        id=meta.id,
        sequence=meta.sequence,
        created=meta.created,
        expires=meta.expires,
        title=_title(meta, accepted),
        cves=meta.cves,
        replaces=meta.replaces,
        quiescence=quiescence,
        target=format.TargetId(meta.target_name, image.sha256, len(old), image.checksum, image.timestamp, image.image_size),
        region_size=extracted.region.size,
        sections=extracted.region.sections,
        fixups=extracted.region.fixups,
        unwind=extracted.unwind,
        functions=tuple(patched),
    )
    content = format.encode(payload)
    checked = proof.prove(matched, extracted, payload)
    return Built(payload, content, explain_build(matched, extracted, payload, why, accepted, checked))


def _title(meta: PayloadMeta, accepted: list[refusal.Finding]) -> str:
    """The title; overrides stand in it, so that no one applies such a payload without seeing them."""
    if not accepted:
        return meta.title
    suffix = f" [overrides: {', '.join(sorted({finding.code for finding in accepted}))}]"
    return meta.title[: _MAX_TITLE - len(suffix)] + suffix
