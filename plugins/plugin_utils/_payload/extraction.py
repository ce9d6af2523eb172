# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What must a payload bring, and where does each reference of the new code lead?

Carried are the changed functions, the new functions they need, their switch tables, the constants the old module lacks, and
unwind data. Everything else is referred to in the old module. A direct call between carried functions stays in the region; the
*address* of a changed function is that of the old one, which is redirected, so that no pointer to new code outlives the payload.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

from .constants import Block, Constants, block_of, merge, window
from .format import ENTRY_ALIGNMENT, UnwindEntry
from .functions import Function, JumpTable, Reference, RefKind
from .matching import Matching
from .region import Destination, Field, FieldKind, InModule, InRegion, Piece, PieceKind, Region, lay_out
from .unwind import carry_unwind

_BLOCK_ALIGNMENT = 64  # of vector constants; windows begin at multiples of it, so what is in them stays aligned
_JUMP = b"\xe9" + bytes(4)


@dataclass(frozen=True)
class Extraction:
    """The region and what is in it."""

    region: Region
    unwind: tuple[UnwindEntry, ...]
    carried: tuple[Function, ...]
    added: tuple[Function, ...]
    """Those of the carried functions that the old module does not have."""


def extract(matching: Matching) -> Extraction:
    """Collects everything the changed functions need.

    :raises HotpatchError: ``build_unsupported_reference``, ``build_unsupported_unwind``, ``build_imports_changed``,
        ``build_layout_changed``.
    """
    return _Extractor(matching).run()


class _Extractor:
    def __init__(self, matching: Matching) -> None:
        self._matching = matching
        self._new = matching.new
        self._constants = Constants(matching)
        self._changed = {item.new.rva for item in matching.changed}
        self._added: dict[int, Function] = {}
        self._carried: dict[int, Function] = {item.new.rva: item.new for item in matching.changed}
        self._exact: dict[int, int] = {}  # RVA → size of constants that are accessed with a known size
        self._blocks: list[Block] = []
        self._thunks: dict[int, Destination] = {}
        self._unwind_rows: list[tuple[int, int, int, int]] = []  # function, begin and end in it, RVA of its unwind data

    def run(self) -> Extraction:
        self._collect()
        pieces = self._unwind_pieces()  # first: exception types may need constants, and handlers thunks
        pieces += [*self._function_pieces(), *self._table_pieces(), *self._constant_pieces()]
        pieces += [
            Piece(PieceKind.THUNK, rva, _JUMP, ENTRY_ALIGNMENT, [Field(1, FieldKind.RELATIVE, d)]) for rva, d in self._thunks.items()
        ]
        region = lay_out(pieces)
        rows = []
        for function, begin, end, info in self._unwind_rows:
            at = region.offset_of(InRegion(PieceKind.FUNCTION, function))
            rows.append(UnwindEntry(at + begin, at + end, region.offset_of(InRegion(PieceKind.UNWIND, info))))
        carried = tuple(self._carried[rva] for rva in sorted(self._carried))
        added = tuple(function for function in carried if function.rva in self._added)
        return Extraction(region, tuple(sorted(rows, key=lambda row: row.begin)), carried, added)

    # -- what is needed --------------------------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Follows references until nothing new turns up. The work ends: there are only so many functions and bytes."""
        pending = list(self._carried.values())
        blocks: list[Block] = []
        while pending:
            function = pending.pop()
            self._check_function(function)
            for reference in function.references:
                pending += self._need(function, reference, blocks)
        while True:
            self._blocks = merge(blocks)
            before = len(self._blocks), sum(block.end - block.begin for block in self._blocks)
            for block in list(self._blocks):
                blocks += [more for at in self._new.image.relocations_in(block.begin, block.end) for more in self._need_pointer(at)]
            self._blocks = merge(blocks)
            if before == (len(self._blocks), sum(block.end - block.begin for block in self._blocks)):
                return

    def _check_function(self, function: Function) -> None:
        if function.unresolved:
            at = function.unresolved[0]
            raise self._unsupported(function, at, "a switch of a kind that is not known, or bytes that are no instruction")
        if function.split:
            part = function.split[0]
            raise HotpatchError(
                "build_unsupported_unwind",
                f"{function.name} is split: a part of it lies at {part.begin:#x}, away from the rest.",
                function.name,
                details={"function": function.name, "rva": function.rva},
            )

    def _need(self, function: Function, reference: Reference, blocks: list[Block]) -> list[Function]:
        """Notes what a reference needs in the region; gives a function that has to be followed too."""
        target = reference.target
        image = self._new.image
        other = self._new.containing(target)
        if other is not None:
            if other.rva in self._matching.pairs or other.rva in self._carried:
                return []
            if target != other.rva or reference.kind not in (RefKind.CALL, RefKind.JUMP):
                raise self._unsupported(function, reference.instruction, f"it takes the address of the new function {other.name}")
            self._added[other.rva] = self._carried[other.rva] = other
            return [other]
        section = image.section_at(target)
        if target in image.imports or section is None or section.writable or section.executable or self._table(function, target):
            return []
        if self._constants.old_address(target, reference.width) is None:
            if reference.width:
                self._exact[target] = max(reference.width, self._exact.get(target, 0))
            else:
                blocks.append(Block(*window(self._new, target)))
            if self._new.image.pointer(target) is not None:
                blocks += self._need_pointer(target)
        return []

    def _need_pointer(self, at: int) -> Iterator[Block]:
        """A carried pointer to a constant that the old module lacks needs that constant."""
        target = self._new.image.pointer(at)
        section = self._new.image.section_at(target) if target is not None else None
        if target is None or section is None or section.writable or section.executable or target in self._new.image.imports:
            return
        if block_of(self._blocks, target) is None and self._constants.old_address(target, 0) is None:
            yield Block(*window(self._new, target))

    # -- where a reference leads -----------------------------------------------------------------------------------------------

    def _destination(self, function: Function, reference: Reference) -> Destination:
        target = reference.target
        where = f"{function.name}+{reference.instruction:#x}"
        table = self._table(function, target)
        if table is not None:
            return InRegion(PieceKind.TABLE, table.rva)
        direct = reference.kind in (RefKind.CALL, RefKind.JUMP)
        if self._new.containing(target) is not None:
            return self._code_destination(target, direct, where)
        if reference.width and target in self._exact and target not in self._new.image.imports:
            return InRegion(PieceKind.CONSTANT, target)
        return self._data_destination(target, reference.width, where)

    def _code_destination(self, target: int, direct: bool, where: str) -> Destination:
        function = self._new.containing(target)
        if function is None:
            raise HotpatchError("build_unsupported_reference", f"{where} refers to {target:#x}, which is no function.", where)
        if direct and target == function.rva and function.rva in self._carried:
            return InRegion(PieceKind.FUNCTION, function.rva)
        partner = self._matching.pairs.get(function.rva)
        if partner is None or (target != function.rva and function.rva in self._changed):
            raise HotpatchError(
                "build_unsupported_reference", f"{where} refers to {target:#x} inside of {function.name}, which is new or changed.", where
            )
        return InModule(partner + target - function.rva)

    def _data_destination(self, target: int, width: int, where: str) -> Destination:
        new, old = self._new.image, self._matching.old.image
        if target in new.imports:
            name = new.imports[target]
            slot = next((rva for rva, known in old.imports.items() if known == name), None)
            if slot is None:
                raise HotpatchError("build_imports_changed", f"{where} uses {name}, which the old build does not import.", where)
            return InModule(slot)
        section = new.section_at(target)
        if section is None and target == 0 and not width:
            return InModule(0)  # the module's own handle
        block = block_of(self._blocks, target) or block_of(self._blocks, target - 1)  # a pointer may mark a block's end
        if block is not None:
            return InRegion(PieceKind.CONSTANT, block.begin, target - block.begin)
        if section is None or section.executable:
            raise HotpatchError("build_unsupported_reference", f"{where} refers to {target:#x}, which is neither code nor data.", where)
        if section.writable:
            rva = self._matching.data.resolve(target)
            if rva is None:
                raise HotpatchError(
                    "build_layout_changed", f"{where} uses static data at {target:#x}, which is not proven to be in the old build.", where
                )
            return InModule(rva)
        constant = self._constants.old_address(target, width)
        if constant is None:
            raise HotpatchError("build_unsupported_reference", f"{where} refers to {target:#x}, which was not carried.", where)
        return InModule(constant)

    def _table(self, function: Function, rva: int) -> JumpTable | None:
        return next((table for table in function.jump_tables if table.rva == rva), None)

    def _unsupported(self, function: Function, at: int, what: str) -> HotpatchError:
        return HotpatchError(
            "build_unsupported_reference",
            f"{function.name}+{at:#x} ({function.rva + at:#x} of the new build): {what}.",
            function.name,
            details={"function": function.name, "rva": function.rva + at},
        )

    # -- pieces ----------------------------------------------------------------------------------------------------------------

    def _function_pieces(self) -> Iterator[Piece]:
        for function in self._carried.values():
            fields = []
            for reference in function.references:
                if reference.size == 1:
                    raise self._unsupported(function, reference.instruction, "a short jump leads out of the function")
                kind = FieldKind.ABSOLUTE if reference.kind is RefKind.POINTER else FieldKind.RELATIVE
                fields.append(Field(reference.offset, kind, self._destination(function, reference), reference.trail))
            yield Piece(PieceKind.FUNCTION, function.rva, function.code, ENTRY_ALIGNMENT, fields)

    def _table_pieces(self) -> Iterator[Piece]:
        for function in self._carried.values():
            for table in function.jump_tables:
                places = [InRegion(PieceKind.FUNCTION, function.rva, target) for target in table.targets]
                fields = [Field(4 * index, FieldKind.TABLE, place) for index, place in enumerate(places)]
                yield Piece(PieceKind.TABLE, table.rva, bytes(4 * len(table.targets)), 4, fields)

    def _constant_pieces(self) -> Iterator[Piece]:
        begins = {block.begin for block in self._blocks}
        for block in self._blocks:
            yield self._constant_piece(block.begin, block.end - block.begin, _BLOCK_ALIGNMENT)
        for rva, size in self._exact.items():
            if rva not in begins:
                yield self._constant_piece(rva, size, max(8, min(_BLOCK_ALIGNMENT, 1 << (size - 1).bit_length())))

    def _constant_piece(self, rva: int, size: int, alignment: int) -> Piece:
        fields = []
        for at in self._new.image.relocations_in(rva, rva + size - 7):
            target = self._new.image.pointer(at)
            if target is None:
                continue
            destination = self._pointer_destination(at, target)
            fields.append(Field(at - rva, FieldKind.ABSOLUTE, destination))
        return Piece(PieceKind.CONSTANT, rva, self._new.image.read(rva, size), alignment, fields)

    def _pointer_destination(self, at: int, target: int) -> Destination:
        where = f"the pointer at {at:#x} of the new build"
        if self._new.containing(target) is not None:
            return self._code_destination(target, False, where)
        section = self._new.image.section_at(target)
        if section is None or section.executable:  # an end of a section, or data that compilers put between functions
            old = self._constants.old_pointer(at)
            if old is not None:
                return InModule(old)
        return self._data_destination(target, 0, where)

    def _unwind_pieces(self) -> list[Piece]:
        pieces: dict[int, Piece] = {}
        for function in self._carried.values():
            for row in function.unwind:
                pieces[row.unwind] = carry_unwind(self._new, function, row, self._thunk, self._type_slot)
                self._unwind_rows.append((function.rva, row.begin - function.rva, row.end - function.rva, row.unwind))
        return list(pieces.values())

    def _thunk(self, target: int, where: str) -> InRegion:
        """A jump in the region to a function of the old module: unwind data can only name what lies in the region."""
        self._thunks[target] = self._code_destination(target, False, where)
        return InRegion(PieceKind.THUNK, target)

    def _type_slot(self, target: int, where: str) -> Destination:
        """Where the pointer to the type information is that a C++ handler names."""
        section = self._new.image.section_at(target)
        if section and not section.writable and not block_of(self._blocks, target) and self._constants.old_address(target, 8) is None:
            self._exact[target] = max(8, self._exact.get(target, 0))
            return InRegion(PieceKind.CONSTANT, target)
        return self._data_destination(target, 8, where)


def carried_by_rva(extraction: Extraction) -> Mapping[int, Function]:
    """The carried functions by their RVA in the new build."""
    return {function.rva: function for function in extraction.carried}
