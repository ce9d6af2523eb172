# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Which functions does a module have, and what does each of them refer to?

Functions come from the exception directory, whose chained rows belong to the function they are chained to. x64 lets a leaf
function go without a row; those are found as exports, as targets of calls and jumps, and as targets of pointers.

Every function is decoded once. Its *shape* is its bytes with each field that holds an address outside of it set to zero; what
the fields point to is kept apart as references. Two builds of one function that only lies elsewhere have the same shape.
"""

from __future__ import annotations

import bisect
import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import iced_x86 as x86

from .pe import UNW_FLAG_CHAININFO, Image, RuntimeFunction

_TLS_POINTER = 0x58  # TEB.ThreadLocalStoragePointer
_MAX_TABLE_ENTRIES = 4096
_TABLE_LOOKBACK = 12  # instructions between a switch's table load and its jump; compilers put at most a handful there
_MAX_LEAF = 64 * 1024


class RefKind(enum.Enum):
    """How an instruction uses the address it names."""

    CALL = "call"
    JUMP = "jump"
    ACCESS = "access"
    """Reads or writes memory there: exactly :attr:`Reference.width` bytes."""
    ADDRESS = "address"
    """Computes the address: how much is used behind it cannot be seen."""
    POINTER = "pointer"
    """An 8-byte immediate that the loader relocates."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One field of a function's code that holds an address outside of the function."""

    offset: int
    """Of the field in the function."""
    size: int
    trail: int
    """Bytes of the instruction behind the field."""
    kind: RefKind
    target: int
    """RVA in the function's own image."""
    width: int
    instruction: int
    """Offset of the instruction in the function."""


@dataclass(frozen=True, slots=True)
class JumpTable:
    """A switch's table of 32-bit distances from the table to code of the function, as GCC and Clang make them."""

    rva: int
    targets: tuple[int, ...]
    """Offsets in the function."""

    @property
    def end(self) -> int:
        """The first RVA behind the table."""
        return self.rva + 4 * len(self.targets)


@dataclass(frozen=True)
class Function:
    """One function of a module, decoded."""

    rva: int
    length: int
    name: str
    exports: tuple[str, ...]
    unwind: tuple[RuntimeFunction, ...]
    """Its rows of the exception directory: one, or several that lie end to end; none for a leaf."""
    split: tuple[RuntimeFunction, ...]
    """Rows chained to it that lie elsewhere."""
    code: bytes
    shape: bytes
    starts: tuple[int, ...]
    """Offsets of its instructions."""
    references: tuple[Reference, ...]
    branches: frozenset[int]
    """Offsets that branches of its own lead to."""
    jump_tables: tuple[JumpTable, ...]
    unresolved: tuple[int, ...]
    """Offsets of what cannot be followed: switch jumps of an unknown kind, bytes that are no instruction."""
    uses_tls: bool

    @property
    def end(self) -> int:
        """The first RVA after it."""
        return self.rva + self.length


@dataclass(frozen=True)
class Program:
    """All functions of a module."""

    image: Image
    functions: tuple[Function, ...]
    by_rva: Mapping[int, Function]
    boundaries: tuple[int, ...]
    """Sorted RVAs, outside of code, that anything refers to: where data objects may begin."""

    def containing(self, rva: int) -> Function | None:
        """The function that holds this RVA."""
        at = bisect.bisect_right(self.functions, rva, key=lambda function: function.rva) - 1
        return self.functions[at] if at >= 0 and rva < self.functions[at].end else None

    def next_boundary(self, rva: int) -> int:
        """Where the next thing that is referred to begins, the next function, or the section ends."""
        section = self.image.section_at(rva)
        end = section.end if section else rva
        at = bisect.bisect_right(self.boundaries, rva)
        if at < len(self.boundaries):
            end = min(self.boundaries[at], end)
        following = bisect.bisect_right(self.functions, rva, key=lambda function: function.rva)
        return min(self.functions[following].rva, end) if following < len(self.functions) else end


@dataclass
class _Extent:
    begin: int
    end: int
    rows: list[RuntimeFunction]
    split: list[RuntimeFunction]


def analyse(image: Image) -> Program:
    """Finds and decodes every function of a module."""
    extents = _extents_of_rows(image)
    functions = {extent.begin: _decode(image, extent) for extent in extents.values()}
    covered = _Ranges((extent.begin, extent.end) for extent in extents.values())
    pending = sorted(_roots(image) | {target for function in functions.values() for target in _code_targets(function)})
    while pending:
        leaves = sorted({rva for rva in pending if image.is_code(rva) and not covered.holds(rva)})
        found: set[int] = set()
        for rva in leaves:
            if covered.holds(rva):
                continue
            end = _leaf_end(image, rva, covered.next_begin(rva))
            if end > rva:
                function = _decode(image, _Extent(rva, end, [], []))
                functions[rva] = function
                covered.add(rva, end)
                found |= _code_targets(function)
        pending = sorted(found)
    ordered = tuple(functions[rva] for rva in sorted(functions))
    return Program(image, ordered, {function.rva: function for function in ordered}, _boundaries(image, ordered))


def _extents_of_rows(image: Image) -> dict[int, _Extent]:
    """One extent for each primary row; chained rows are added to the row they are chained to."""
    rows = {row.begin: row for row in image.runtime_functions}
    extents: dict[int, _Extent] = {}
    for row in image.runtime_functions:
        root = chain_root(image, row)
        if root.begin == row.begin:
            extents.setdefault(row.begin, _Extent(row.begin, row.end, [row], []))
    for row in image.runtime_functions:
        root = chain_root(image, row)
        if root.begin == row.begin:
            continue
        extent = extents.setdefault(root.begin, _Extent(root.begin, root.end, [rows.get(root.begin, root)], []))
        if row.begin == extent.end:
            extent.end = row.end
            extent.rows.append(row)
        else:
            extent.split.append(row)
    for extent in list(extents.values()):
        for part in extent.split:
            extents.setdefault(part.begin, _Extent(part.begin, part.end, [part], []))
    return extents


def chain_root(image: Image, row: RuntimeFunction) -> RuntimeFunction:
    """The row of the function that a chained row belongs to; the row itself when it is not chained."""
    for _ in range(32):  # chains are one or two long; a circle in a damaged file must end
        if not (image.u32(row.unwind) & 0xFF) >> 3 & UNW_FLAG_CHAININFO:
            return row
        at = chained_row_at(image, row.unwind)
        row = RuntimeFunction(image.u32(at), image.u32(at + 4), image.u32(at + 8))
    return row


def chained_row_at(image: Image, unwind: int) -> int:
    """Where in a chained UNWIND_INFO the parent's row stands: behind the codes, whose count is rounded up to even."""
    codes = image.read(unwind, 4)[2] if len(image.read(unwind, 4)) == 4 else 0
    return unwind + 4 + 2 * (codes + (codes & 1))


class _Ranges:
    """Sorted, not overlapping ranges of RVAs."""

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._ranges = sorted(ranges)

    def holds(self, rva: int) -> bool:
        at = bisect.bisect_right(self._ranges, (rva, 1 << 62)) - 1
        return at >= 0 and rva < self._ranges[at][1]

    def next_begin(self, rva: int) -> int:
        at = bisect.bisect_right(self._ranges, (rva, 1 << 62))
        return self._ranges[at][0] if at < len(self._ranges) else 1 << 62

    def add(self, begin: int, end: int) -> None:
        bisect.insort(self._ranges, (begin, end))


def _roots(image: Image) -> set[int]:
    roots = {rva for rva in image.exports.values() if image.is_code(rva)} | set(image.symbols)
    if image.entry_point:
        roots.add(image.entry_point)
    if image.tls:
        roots.update(image.tls.callbacks)
    roots.update(target for target in (image.pointer(at) for at in image.relocations) if target is not None)
    return roots


def _code_targets(function: Function) -> set[int]:
    return {reference.target for reference in function.references if reference.kind is not RefKind.ACCESS}


def _decoder(image: Image, begin: int, end: int) -> x86.Decoder:
    return x86.Decoder(64, image.read(begin, end - begin), ip=begin)


def _leaf_end(image: Image, begin: int, limit: int) -> int:
    """Where a function without an unwind row ends: at the first return or jump that no earlier branch leads past.

    Gives ``begin`` when there is no code: a pointer into the code section can also point to data.
    """
    section = image.section_at(begin)
    if section is None:
        return begin
    limit = min(limit, section.end, begin + _MAX_LEAF)
    furthest = begin
    for instruction in _decoder(image, begin, limit):
        if instruction.is_invalid:
            return begin
        target = instruction.near_branch_target if _is_direct_branch(instruction) else 0
        if begin < target < limit and not instruction.is_call_near:
            furthest = max(furthest, target)
        flow = instruction.flow_control
        leaves = flow in (x86.FlowControl.RETURN, x86.FlowControl.UNCONDITIONAL_BRANCH, x86.FlowControl.INDIRECT_BRANCH)
        if (leaves or flow == x86.FlowControl.INTERRUPT) and instruction.next_ip > furthest:
            return int(instruction.next_ip)
    return begin


def _is_direct_branch(instruction: x86.Instruction) -> bool:
    return instruction.op_count > 0 and instruction.op0_kind in (x86.OpKind.NEAR_BRANCH64, x86.OpKind.NEAR_BRANCH32)


def _decode(image: Image, extent: _Extent) -> Function:
    code = image.read(extent.begin, extent.end - extent.begin)
    shape = bytearray(code)
    references: list[Reference] = []
    branches: set[int] = set()
    unresolved: list[int] = []
    instructions: list[x86.Instruction] = []
    uses_tls = False
    decoder = x86.Decoder(64, code, ip=extent.begin)
    for instruction in decoder:
        instructions.append(instruction)
        if instruction.is_invalid:
            unresolved.append(instruction.ip - extent.begin)
            continue
        uses_tls = uses_tls or _reads_tls_pointer(instruction)
        if _is_direct_branch(instruction) and extent.begin <= instruction.near_branch_target < extent.end:
            branches.add(instruction.near_branch_target - extent.begin)
            continue
        constants = decoder.get_constant_offsets(instruction)
        for reference in _references(image, instruction, constants, extent.begin):
            references.append(reference)
            shape[reference.offset : reference.offset + reference.size] = bytes(reference.size)
    starts = tuple(instruction.ip - extent.begin for instruction in instructions)
    tables, unknown = _jump_tables(image, extent, instructions, set(starts))
    names = tuple(sorted(name for name, rva in image.exports.items() if rva == extent.begin))
    return Function(
        rva=extent.begin,
        length=extent.end - extent.begin,
        name=names[0] if names else image.symbols.get(extent.begin, f"sub_{extent.begin:x}"),
        exports=names,
        unwind=tuple(extent.rows),
        split=tuple(extent.split),
        code=code,
        shape=bytes(shape),
        starts=starts,
        references=tuple(references),
        branches=frozenset(branches | {target for table in tables for target in table.targets}),
        jump_tables=tables,
        unresolved=tuple(sorted([*unresolved, *unknown])),
        uses_tls=uses_tls,
    )


def _reads_tls_pointer(instruction: x86.Instruction) -> bool:
    return (
        instruction.segment_prefix == x86.Register.GS
        and instruction.memory_base == x86.Register.NONE
        and instruction.memory_index == x86.Register.NONE
        and instruction.memory_displacement == _TLS_POINTER
    )


def _references(image: Image, instruction: x86.Instruction, constants: x86.ConstantOffsets, begin: int) -> Iterator[Reference]:
    """The fields of one instruction that hold an address outside of the function."""
    at = instruction.ip - begin

    def reference(offset: int, size: int, kind: RefKind, target: int, width: int = 0) -> Reference:
        return Reference(at + offset, size, instruction.len - offset - size, kind, target, width, at)

    if _is_direct_branch(instruction):
        kind = RefKind.CALL if instruction.is_call_near else RefKind.JUMP
        yield reference(constants.immediate_offset, constants.immediate_size, kind, instruction.near_branch_target)
    if instruction.is_ip_rel_memory_operand:
        is_address = instruction.mnemonic == x86.Mnemonic.LEA
        width = 0 if is_address else x86.MemorySizeExt.size(instruction.memory_size)
        # Instructions whose operand has no fixed size (fxsave, prefetch) are treated as if they computed the address.
        kind = RefKind.ACCESS if width else RefKind.ADDRESS
        yield reference(constants.displacement_offset, 4, kind, instruction.ip_rel_memory_address, width)
    for offset, size in (
        (constants.immediate_offset, constants.immediate_size),
        (constants.displacement_offset, constants.displacement_size),
    ):
        target = image.pointer(instruction.ip + offset) if size == 8 else None
        if target is not None:
            yield reference(offset, 8, RefKind.POINTER, target)


def _jump_tables(
    image: Image, extent: _Extent, instructions: list[x86.Instruction], starts: set[int]
) -> tuple[tuple[JumpTable, ...], list[int]]:
    """The tables of a function's switches, and the offsets of switch jumps whose table was not found.

    A switch is ``movsxd r, [base + index*4]; add r, base; jmp r`` with ``lea base, [table]`` before it, perhaps far before. A
    ``jmp r`` without such a load shortly before it is a tail call through a pointer.
    """
    leas: dict[int, set[int]] = {}
    for instruction in instructions:
        if instruction.mnemonic == x86.Mnemonic.LEA and instruction.is_ip_rel_memory_operand:
            leas.setdefault(instruction.op0_register, set()).add(instruction.ip_rel_memory_address)
    every_address = {address for addresses in leas.values() for address in addresses}
    tables: dict[int, JumpTable] = {}
    unknown = []
    for index, instruction in enumerate(instructions):
        if instruction.is_invalid or not instruction.is_jmp_near_indirect or instruction.op0_kind != x86.OpKind.REGISTER:
            continue
        load = _switch_load(instructions[max(0, index - _TABLE_LOOKBACK) : index])
        if load is None:
            continue
        found = [
            table
            for address in leas.get(load.memory_base, ())
            if load.memory_displacement == 0 and (table := _read_table(image, extent, address, every_address, starts)).targets
        ]
        tables.update((table.rva, table) for table in found)
        if not found or load.mnemonic != x86.Mnemonic.MOVSXD:
            unknown.append(instruction.ip - extent.begin)
    return tuple(tables[rva] for rva in sorted(tables)), unknown


def _switch_load(before: list[x86.Instruction]) -> x86.Instruction | None:
    for instruction in reversed(before):
        is_load = instruction.mnemonic in (x86.Mnemonic.MOVSXD, x86.Mnemonic.MOV) and instruction.memory_base != x86.Register.NONE
        if is_load and instruction.memory_index_scale == 4 and x86.MemorySizeExt.size(instruction.memory_size) == 4:
            return instruction
    return None


def _read_table(image: Image, extent: _Extent, rva: int, other_addresses: set[int], starts: set[int]) -> JumpTable:
    targets = []
    section = image.section_at(rva)
    if section is not None and not section.writable:
        for at in range(rva, min(section.end - 3, rva + 4 * _MAX_TABLE_ENTRIES), 4):
            distance = int.from_bytes(image.read(at, 4), "little", signed=True)
            if (at != rva and at in other_addresses) or rva + distance - extent.begin not in starts:
                break
            targets.append(rva + distance - extent.begin)
    return JumpTable(rva, tuple(targets))


def _boundaries(image: Image, functions: Iterable[Function]) -> tuple[int, ...]:
    rvas = {reference.target for function in functions for reference in function.references}
    rvas.update(target for target in (image.pointer(at) for at in image.relocations) if target is not None)
    rvas.update(image.exports.values())
    rvas.update(table.end for function in functions for table in function.jump_tables)
    return tuple(sorted(rva for rva in rvas if not image.is_code(rva)))
