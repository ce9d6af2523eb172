# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof finds what is wrong with a payload: every field of it that says where something leads, changed one by one."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload import pe
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload.extraction import Extraction, extract
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload.format import FixupBase, Payload
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload.functions import analyse
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload.matching import Matching, match
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload.proof import prove
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload.region import PieceKind

from .conftest import dll, fix


def parts(version: str) -> tuple[Matching, Extraction, Payload]:
    matching = match(analyse(pe.parse(dll("v1"))), analyse(pe.parse(dll(version))))
    return matching, extract(matching), fix(version).payload


@pytest.mark.parametrize("version", ["v2", "helper", "switch", "constant"])
def test_the_real_payload_is_proven(version: str) -> None:
    assert prove(*parts(version)) > 0


@pytest.mark.parametrize("version", ["v2", "helper", "constant"])
def test_no_fixup_can_lead_elsewhere_unnoticed(version: str) -> None:
    matching, extraction, payload = parts(version)
    for index, fixup in enumerate(payload.fixups):
        step = 8 if fixup.base is FixupBase.REGION else 16
        moved = fixup.value + step if fixup.value + step < payload.target.image_size else fixup.value - step
        for wrong in (dataclasses.replace(fixup, addend=fixup.addend + 1), dataclasses.replace(fixup, value=moved)):
            fixups = (*payload.fixups[:index], wrong, *payload.fixups[index + 1 :])
            with pytest.raises(HotpatchError) as failed:
                prove(matching, extraction, dataclasses.replace(payload, fixups=fixups))
            assert failed.value.code == "build_proof_failed"


@pytest.mark.parametrize("version", ["v2", "switch"])
def test_no_byte_of_the_new_code_can_differ_unnoticed(version: str) -> None:
    matching, extraction, payload = parts(version)
    code, *rest = payload.sections
    exact = [piece for piece in extraction.region.pieces if piece.kind in (PieceKind.FUNCTION, PieceKind.TABLE)]
    inside = [range(piece.offset, piece.offset + len(piece.data)) for piece in exact]
    for section in payload.sections:
        places = [at for span in inside for at in span if section.offset <= at < section.offset + len(section.data)]
        for at in places:
            if any(fixup.offset <= at < fixup.offset + fixup.size for fixup in payload.fixups):
                continue  # overwritten by the fixup
            data = bytearray(section.data)
            data[at - section.offset] ^= 0x10
            changed = dataclasses.replace(section, data=bytes(data))
            sections = tuple(changed if item is section else item for item in (code, *rest))
            with pytest.raises(HotpatchError):
                prove(matching, extraction, dataclasses.replace(payload, sections=sections))


def test_missing_unwind_rows_are_noticed() -> None:
    matching, extraction, payload = parts("v2")
    with pytest.raises(HotpatchError) as failed:
        prove(matching, extraction, dataclasses.replace(payload, unwind=payload.unwind[:-1]))
    assert failed.value.code == "build_proof_failed"
