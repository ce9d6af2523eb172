# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Does the finished payload do what the new build does? Decoded again at its final layout, reference by reference.

The proof shares nothing with the code that resolved the references: it applies the fixups as the agent will, decodes the new
code where it would run, and says of each address what it is by looking at the bytes and names there. Two placements of the
region are tried, before and behind the module.
"""

from __future__ import annotations

import bisect
import itertools

import iced_x86 as x86

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

from .extraction import Extraction
from .format import PAGE, Fixup, FixupBase, FixupKind, Payload
from .functions import Function, chained_row_at
from .matching import Matching
from .pe import UNW_FLAG_EHANDLER, UNW_FLAG_UHANDLER
from .region import Piece, PieceKind

_GAP = 16 * PAGE


def prove(matching: Matching, extraction: Extraction, payload: Payload) -> int:
    """Checks every reference of the new code.

    :returns: how many references were checked, in one placement.
    :raises HotpatchError: ``build_proof_failed``.
    """
    base = matching.old.image.image_base
    behind = base + -(-matching.old.image.image_size // PAGE) * PAGE + _GAP
    before = base - payload.region_size - _GAP
    counts = {_Proof(matching, extraction, payload, base, place).run() for place in (behind, before)}
    if len(counts) != 1:
        raise HotpatchError("build_proof_failed", "Two placements of the region gave different references.")
    return counts.pop()


class _Proof:
    def __init__(self, matching: Matching, extraction: Extraction, payload: Payload, base: int, region: int) -> None:
        self._matching = matching
        self._old, self._new = matching.old, matching.new
        self._extraction = extraction
        self._payload = payload
        self._base, self._region = base, region
        self._memory = self._apply_fixups()
        self._pieces = sorted(extraction.region.pieces, key=lambda piece: piece.offset)
        self._starts = [piece.offset for piece in self._pieces]
        self._changed = {item.new.rva for item in matching.changed}

    def run(self) -> int:
        count = 0
        for piece in self._pieces:
            if piece.kind is PieceKind.FUNCTION:
                count += self._prove_function(self._new.by_rva[piece.rva], piece)
            elif piece.kind is PieceKind.TABLE:
                self._prove_table(piece)
            elif piece.kind is PieceKind.CONSTANT:
                self._prove_constant(piece)
            elif piece.kind is PieceKind.THUNK:
                self._prove_thunk(piece)
        self._prove_unwind()
        return count

    def _apply_fixups(self) -> bytes:
        memory = bytearray(self._payload.region_size)
        for section in self._payload.sections:
            memory[section.offset : section.offset + len(section.data)] = section.data
        for fixup in self._payload.fixups:
            memory[fixup.offset : fixup.offset + fixup.size] = self._value(fixup)
        return bytes(memory)

    def _value(self, fixup: Fixup) -> bytes:
        base = self._base if fixup.base is FixupBase.TARGET else self._region
        value = base + fixup.value + fixup.addend
        if fixup.kind is FixupKind.ABS64:
            return value.to_bytes(8, "little")
        try:
            return (value - (self._region + fixup.offset + 4)).to_bytes(4, "little", signed=True)
        except OverflowError as error:
            raise HotpatchError("build_proof_failed", f"The fixup at {fixup.offset:#x} does not reach its target.") from error

    def _fail(self, where: str, what: str) -> HotpatchError:
        return HotpatchError("build_proof_failed", f"{where}: {what}.", where)

    # -- functions -------------------------------------------------------------------------------------------------------------

    def _prove_function(self, function: Function, piece: Piece) -> int:
        code = self._memory[piece.offset : piece.offset + function.length]
        if len(piece.data) != function.length:
            raise self._fail(function.name, "its length changed")
        masked = bytearray(code)
        for reference in function.references:
            masked[reference.offset : reference.offset + reference.size] = bytes(reference.size)
        if masked != function.shape:
            raise self._fail(function.name, "its bytes are not those of the new build")
        decoder = x86.Decoder(64, code, ip=self._region + piece.offset)
        original = x86.Decoder(64, self._new.image.read(function.rva, function.length), ip=function.rva)
        count = 0
        for ours, theirs in itertools.zip_longest(decoder, original):
            if ours is None or theirs is None or ours.is_invalid or ours.len != theirs.len or ours.code != theirs.code:
                raise self._fail(function.name, "its instructions are not those of the new build")
            count += self._prove_instruction(function, piece, ours, theirs)
        return count

    def _prove_instruction(self, function: Function, piece: Piece, ours: x86.Instruction, theirs: x86.Instruction) -> int:
        where = f"{function.name}+{theirs.ip - function.rva:#x}"
        for operand in range(theirs.op_count):
            if ours.op_kind(operand) != theirs.op_kind(operand):
                raise self._fail(where, "an operand is of another kind")
        pairs = []
        if _is_branch(theirs):
            pairs.append((ours.near_branch_target, theirs.near_branch_target, 0, not theirs.is_call_near and _inside(function, theirs)))
        if theirs.is_ip_rel_memory_operand:
            width = 0 if theirs.mnemonic == x86.Mnemonic.LEA else x86.MemorySizeExt.size(theirs.memory_size)
            pairs.append((ours.ip_rel_memory_address, theirs.ip_rel_memory_address, width, False))
        for at in self._new.image.relocations_in(theirs.ip, theirs.next_ip):
            offset = piece.offset + at - function.rva
            address = int.from_bytes(self._memory[offset : offset + 8], "little")
            pairs.append((address, self._new.image.pointer(at) or 0, 0, False))
        for address, target, width, inside in pairs:
            if inside:
                if address - ours.ip != target - theirs.ip:
                    raise self._fail(where, "a branch inside of the function leads elsewhere")
            elif not self._same_place(address, target, width):
                raise self._fail(where, f"the reference to {target:#x} of the new build does not lead to the same thing")
        if not pairs and ours != theirs:
            raise self._fail(where, "the instruction differs")
        return sum(1 for pair in pairs if not pair[3])

    # -- places ----------------------------------------------------------------------------------------------------------------

    def _same_place(self, address: int, target: int, width: int) -> bool:
        """Whether an address of the patched process is what the new build has at ``target``."""
        offset = address - self._region
        if 0 <= offset < self._payload.region_size:
            return self._same_in_region(offset, target, width)
        return self._same_in_module(address - self._base, target, width)

    def _piece_at(self, offset: int) -> Piece | None:
        at = bisect.bisect_right(self._starts, offset) - 1
        piece = self._pieces[at] if at >= 0 else None
        return piece if piece and offset <= piece.offset + len(piece.data) else None

    def _same_in_region(self, offset: int, target: int, width: int) -> bool:
        piece = self._piece_at(offset)
        if piece is None or piece.kind in (PieceKind.UNWIND, PieceKind.THUNK):
            return False
        return piece.rva + offset - piece.offset == target and offset + width <= piece.offset + len(piece.data)

    def _same_in_module(self, rva: int, target: int, width: int) -> bool:
        old, new = self._old.image, self._new.image
        if target in new.imports or rva in old.imports:
            return new.imports.get(target) == old.imports.get(rva)
        function = self._new.containing(target)
        if function is not None:
            return self._same_function(function, rva, target)
        section, partner = new.section_at(target), old.section_at(rva)
        if section is None and partner is None:
            return new.edge(target) == old.edge(rva) != ""
        if section is None or partner is None or section.name != partner.name:
            return False
        if section.writable:
            return self._matching.data.resolve(target) == rva
        size = width or min(self._new.next_boundary(target) - target, self._old.next_boundary(rva) - rva)
        return self._same_bytes(rva, target, size)

    def _same_function(self, function: Function, rva: int, target: int) -> bool:
        partner = self._matching.old_function(function.rva)
        if partner is None or rva - partner.rva != target - function.rva:
            return False
        if function.rva in self._changed:
            return target == function.rva and any(item.rva == rva for item in self._payload.functions)
        return function.shape == partner.shape

    def _same_bytes(self, rva: int, target: int, size: int) -> bool:
        old, new = bytearray(self._old.image.read(rva, size)), bytearray(self._new.image.read(target, size))
        for at in self._new.image.relocations_in(target - 7, target + size):
            low, high = max(0, at - target), min(size, at - target + 8)
            old[low:high] = new[low:high] = bytes(high - low)
        return old == new

    # -- tables and constants --------------------------------------------------------------------------------------------------

    def _prove_table(self, piece: Piece) -> None:
        function = next(f for f in self._extraction.carried if any(table.rva == piece.rva for table in f.jump_tables))
        home = next(item for item in self._pieces if item.kind is PieceKind.FUNCTION and item.rva == function.rva)
        for at in range(0, len(piece.data), 4):
            ours = int.from_bytes(self._memory[piece.offset + at : piece.offset + at + 4], "little", signed=True)
            theirs = int.from_bytes(self._new.image.read(piece.rva + at, 4), "little", signed=True)
            if piece.offset + ours - home.offset != piece.rva + theirs - function.rva:
                raise self._fail(function.name, f"entry {at // 4} of the switch table at {piece.rva:#x} leads elsewhere")

    def _prove_constant(self, piece: Piece) -> None:
        ours = bytearray(self._memory[piece.offset : piece.offset + len(piece.data)])
        theirs = bytearray(self._new.image.read(piece.rva, len(piece.data)))
        for at in self._new.image.relocations_in(piece.rva, piece.rva + len(piece.data) - 7):
            slot = at - piece.rva
            address = int.from_bytes(ours[slot : slot + 8], "little")
            if not self._same_place(address, self._new.image.pointer(at) or 0, 0):
                raise self._fail(f"constant {at:#x}", "the pointer does not lead to the same thing")
            ours[slot : slot + 8] = theirs[slot : slot + 8] = bytes(8)
        if ours != theirs:
            raise self._fail(f"constant {piece.rva:#x}", "its bytes differ from the new build's")

    # -- unwind data -----------------------------------------------------------------------------------------------------------

    def _prove_thunk(self, piece: Piece) -> None:
        code = self._memory[piece.offset : piece.offset + len(piece.data)]
        instruction = x86.Decoder(64, code, ip=self._region + piece.offset).decode()
        if not instruction.is_jmp_near or not self._same_place(instruction.near_branch_target, piece.rva, 0):
            raise self._fail(f"jump to {piece.rva:#x}", "it does not lead to the same function")

    def _prove_unwind(self) -> None:
        """Every row of the new build that covers a carried function has its counterpart, with the same unwind codes and handler."""
        homes = {piece.rva: piece.offset for piece in self._pieces if piece.kind is PieceKind.FUNCTION}
        expected = sorted(
            (homes[function.rva] + row.begin - function.rva, homes[function.rva] + row.end - function.rva, row.unwind)
            for function in self._extraction.carried
            for row in self._new.image.runtime_functions
            if function.rva <= row.begin < function.end
        )
        rows = [(row.begin, row.end) for row in self._payload.unwind]
        if rows != [(begin, end) for begin, end, _ in expected]:
            raise self._fail("unwind data", "its rows are not those of the new functions")
        for row, (_, _, original) in zip(self._payload.unwind, expected, strict=True):
            self._prove_unwind_info(row.info, original)

    def _prove_unwind_info(self, info: int, original: int) -> None:
        image = self._new.image
        size = chained_row_at(image, original) - original
        if self._memory[info : info + size] != image.read(original, size):
            raise self._fail(f"unwind data {original:#x}", "its codes differ")
        if image.read(original, 1)[0] >> 3 & (UNW_FLAG_EHANDLER | UNW_FLAG_UHANDLER):
            handler = int.from_bytes(self._memory[info + size : info + size + 4], "little")
            piece = self._piece_at(handler)
            if piece is None or piece.kind is not PieceKind.THUNK or (piece.offset, piece.rva) != (handler, image.u32(original + size)):
                raise self._fail(f"unwind data {original:#x}", "its handler is another one")


def _is_branch(instruction: x86.Instruction) -> bool:
    return instruction.op_count > 0 and instruction.op0_kind in (x86.OpKind.NEAR_BRANCH64, x86.OpKind.NEAR_BRANCH32)


def _inside(function: Function, instruction: x86.Instruction) -> bool:
    return function.rva <= instruction.near_branch_target < function.end
