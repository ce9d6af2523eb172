# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""How is the region put together: pieces with an order, fields that point from one to another, then bytes and fixups?"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

from .format import MAX_REGION, PAGE, Fixup, FixupBase, FixupKind, Protection, RegionSection

_INT3 = b"\xcc"


class PieceKind(enum.Enum):
    """What a piece is; also the order of pieces in the region."""

    FUNCTION = "function"
    THUNK = "thunk"
    TABLE = "jump table"
    CONSTANT = "constant"
    UNWIND = "unwind data"

    @property
    def executable(self) -> bool:
        """Whether it lies in the executable section."""
        return self in (PieceKind.FUNCTION, PieceKind.THUNK)


class FieldKind(enum.Enum):
    """How a field names its destination."""

    RELATIVE = "relative"
    """32 bits, from behind the instruction."""
    ABSOLUTE = "absolute"
    """64 bits."""
    OFFSET = "offset"
    """32 bits, from the region's start: what unwind data calls an RVA."""
    TABLE = "table"
    """32 bits, from the start of the piece that holds the field: a switch table's entry."""


@dataclass(frozen=True)
class InModule:
    """A place in the old module."""

    rva: int


@dataclass(frozen=True)
class InRegion:
    """A place in a piece of the region; ``rva`` is where the piece is in the new build."""

    kind: PieceKind
    rva: int
    offset: int = 0


Destination = InModule | InRegion


@dataclass(frozen=True)
class Field:
    """A field of a piece that holds an address; ``trail`` bytes of its instruction follow it."""

    offset: int
    kind: FieldKind
    destination: Destination
    trail: int = 0


@dataclass
class Piece:
    """Bytes of the region that stay together; ``rva`` says where they come from in the new build."""

    kind: PieceKind
    rva: int
    data: bytes
    alignment: int
    fields: list[Field] = field(default_factory=list)
    offset: int = 0
    """In the region, once it is laid out."""


@dataclass(frozen=True)
class Region:
    """The finished region."""

    size: int
    sections: tuple[RegionSection, ...]
    fixups: tuple[Fixup, ...]
    pieces: tuple[Piece, ...]

    def offset_of(self, destination: InRegion) -> int:
        """Where a piece, or a place in it, came to lie."""
        return _offset_of(self.pieces, destination)


def lay_out(pieces: Iterable[Piece]) -> Region:
    """Gives every piece its place, resolves what stays inside the region, and lists a fixup for all else.

    :raises HotpatchError: ``build_unsupported_reference`` when the region grows beyond its limit.
    """
    ordered = sorted(pieces, key=lambda piece: (list(PieceKind).index(piece.kind), piece.rva))
    code_end = _place([piece for piece in ordered if piece.kind.executable], 0)
    data_begin = -(-code_end // PAGE) * PAGE
    data_end = _place([piece for piece in ordered if not piece.kind.executable], data_begin)
    size = -(-max(data_end, 1) // PAGE) * PAGE
    if size > MAX_REGION:
        raise HotpatchError("build_unsupported_reference", f"The new code needs {size} bytes; a payload may bring {MAX_REGION}.")
    image = bytearray(_INT3 * data_begin + bytes(max(0, data_end - data_begin)))
    fixups: list[Fixup] = []
    for piece in ordered:
        image[piece.offset : piece.offset + len(piece.data)] = piece.data
    for piece in ordered:
        for item in piece.fields:
            fixup = _resolve(ordered, piece, item, image)
            if fixup:
                fixups.append(fixup)
    sections = [RegionSection(0, code_end, Protection.EXECUTE, bytes(image[:code_end]))]
    if data_end > data_begin:
        sections.append(RegionSection(data_begin, data_end - data_begin, Protection.READ, bytes(image[data_begin:data_end])))
    return Region(size, tuple(sections), tuple(sorted(fixups, key=lambda item: item.offset)), tuple(ordered))


def _place(pieces: list[Piece], at: int) -> int:
    for piece in pieces:
        piece.offset = -(-at // piece.alignment) * piece.alignment
        at = piece.offset + len(piece.data)
    return at


def _offset_of(pieces: Iterable[Piece], destination: InRegion) -> int:
    for piece in pieces:
        if piece.kind is destination.kind and piece.rva == destination.rva:
            return piece.offset + destination.offset
    raise HotpatchError("build_proof_failed", f"Nothing was carried for the {destination.kind.value} at {destination.rva:#x}.")


def _resolve(pieces: list[Piece], piece: Piece, item: Field, image: bytearray) -> Fixup | None:
    at = piece.offset + item.offset
    destination = item.destination
    if isinstance(destination, InModule):
        if item.kind is FieldKind.RELATIVE:
            image[at : at + 4] = bytes(4)
            return Fixup(at, FixupKind.REL32, FixupBase.TARGET, destination.rva, -item.trail)
        if item.kind is FieldKind.ABSOLUTE:
            image[at : at + 8] = bytes(8)
            return Fixup(at, FixupKind.ABS64, FixupBase.TARGET, destination.rva, 0)
        raise HotpatchError("build_proof_failed", f"A field of kind '{item.kind.value}' cannot lead out of the region.")
    target = _offset_of(pieces, destination)
    if item.kind is FieldKind.ABSOLUTE:
        image[at : at + 8] = bytes(8)
        return Fixup(at, FixupKind.ABS64, FixupBase.REGION, target, 0)
    origin = {FieldKind.RELATIVE: at + 4 + item.trail, FieldKind.OFFSET: 0, FieldKind.TABLE: piece.offset}[item.kind]
    image[at : at + 4] = (target - origin).to_bytes(4, "little", signed=True)
    return None
