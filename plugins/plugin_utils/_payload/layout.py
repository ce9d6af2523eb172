# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Do two builds of changed functions agree on how structures are laid out?

A stripped module does not say what its structures look like, but code that uses them does. Where an instruction of a changed
function is the same in both builds except for the distance it adds to a pointer, a field has moved; where the size it asks an
allocator for differs, an object has grown. One such place can be what the fix is about; several, or a grown allocation, mean
that data made by old code would be misread by new code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import iced_x86 as x86

from .functions import Function, Program
from .matching import ChangedFunction

_CALL_DISTANCE = 8  # instructions between setting an argument and the call; arguments are set right before it

_IMMEDIATES = (
    x86.OpKind.IMMEDIATE8,
    x86.OpKind.IMMEDIATE16,
    x86.OpKind.IMMEDIATE32,
    x86.OpKind.IMMEDIATE8TO32,
    x86.OpKind.IMMEDIATE8TO64,
    x86.OpKind.IMMEDIATE32TO64,
)
_RCX, _RDX, _R8, _R9 = x86.Register.RCX, x86.Register.RDX, x86.Register.R8, x86.Register.R9
_SIZE_ARGUMENTS: Mapping[str, frozenset[x86.Register_]] = {
    "malloc": frozenset({_RCX}),
    "calloc": frozenset({_RCX, _RDX}),
    "realloc": frozenset({_RDX}),
    "_aligned_malloc": frozenset({_RCX}),
    "??2@YAPEAX_K@Z": frozenset({_RCX}),
    "_Znwy": frozenset({_RCX}),
    "HeapAlloc": frozenset({_R8}),
    "RtlAllocateHeap": frozenset({_R8}),
    "HeapReAlloc": frozenset({_R9}),
    "LocalAlloc": frozenset({_RDX}),
    "GlobalAlloc": frozenset({_RDX}),
    "CoTaskMemAlloc": frozenset({_RCX}),
    "VirtualAlloc": frozenset({_RDX}),
}


@dataclass(frozen=True)
class FieldShift:
    """The same instruction reaches another distance from its pointer."""

    function: str
    old_rva: int
    new_rva: int
    old_distance: int
    new_distance: int

    def __str__(self) -> str:
        return (
            f"{self.function}: the field at +{self.old_distance:#x} ({self.old_rva:#x}) is at +{self.new_distance:#x} ({self.new_rva:#x})"
        )


@dataclass(frozen=True)
class GrownAllocation:
    """The same call of an allocator asks for another constant size."""

    function: str
    allocator: str
    old_rva: int
    old_size: int
    new_size: int

    def __str__(self) -> str:
        return f"{self.function}: {self.allocator} at {self.old_rva:#x} is asked for {self.new_size} bytes instead of {self.old_size}"


def field_shifts(change: ChangedFunction) -> list[FieldShift]:
    """The places where the two builds of a function differ only in a distance from a pointer that is not the stack's."""
    shifts = []
    for old, new in _aligned(change):
        if not _has_field(old) or not _has_field(new) or _is_frame(change.old, old.memory_base):
            continue
        before, after = _signed(old.memory_displacement), _signed(new.memory_displacement)
        if before != after and _same_but_distance(old, new):
            shifts.append(FieldShift(change.new.name, old.ip, new.ip, before, after))
    return shifts


def grown_allocations(old: Program, change: ChangedFunction) -> list[GrownAllocation]:
    """The places where the two builds of a function ask an allocator for different constant sizes."""
    found = []
    calls = {ref.instruction: name for ref in change.old.references if (name := _import_name(old, ref.target))}
    for before, after in _aligned(change):
        if not (_sets_constant(before) and _sets_constant(after)) or before.immediate(1) == after.immediate(1):
            continue
        allocator = _next_call(change.old, before.ip - change.old.rva, calls)
        if before_register(before) in _SIZE_ARGUMENTS.get(allocator, frozenset()):
            found.append(GrownAllocation(change.new.name, allocator, before.ip, before.immediate(1), after.immediate(1)))
    return found


def before_register(instruction: x86.Instruction) -> x86.Register_:
    """The 64-bit register an instruction writes to."""
    return x86.RegisterExt.full_register(instruction.op0_register)


def _import_name(program: Program, target: int) -> str:
    """The import a call reaches, directly through its slot or by a jump that leads there."""
    if target in program.image.imports:
        return program.image.imports[target].rpartition("!")[2]
    function = program.by_rva.get(target)
    if function and function.length <= 8 and len(function.references) == 1:
        return program.image.imports.get(function.references[0].target, "").rpartition("!")[2]
    return ""


def _next_call(function: Function, offset: int, calls: Mapping[int, str]) -> str:
    at = function.starts.index(offset)
    for start in function.starts[at + 1 : at + 1 + _CALL_DISTANCE]:
        if start in calls:
            return calls[start]
    return ""


def _sets_constant(instruction: x86.Instruction) -> bool:
    kinds = (x86.OpKind.IMMEDIATE32, x86.OpKind.IMMEDIATE32TO64, x86.OpKind.IMMEDIATE64)
    return instruction.mnemonic == x86.Mnemonic.MOV and instruction.op0_kind == x86.OpKind.REGISTER and instruction.op1_kind in kinds


def _aligned(change: ChangedFunction) -> Iterator[tuple[x86.Instruction, x86.Instruction]]:
    """The instructions of both builds that correspond to each other, by operation and registers."""
    old = list(x86.Decoder(64, change.old.code, ip=change.old.rva))
    new = list(x86.Decoder(64, change.new.code, ip=change.new.rva))
    matcher = difflib.SequenceMatcher(None, [_key(item) for item in old], [_key(item) for item in new], autojunk=False)
    for block in matcher.get_matching_blocks():
        for step in range(block.size):
            yield old[block.a + step], new[block.b + step]


def _key(instruction: x86.Instruction) -> tuple[int, ...]:
    registers = tuple(instruction.op_register(index) for index in range(min(instruction.op_count, 4)))
    return (instruction.mnemonic, *registers, instruction.memory_base, instruction.memory_index, instruction.memory_index_scale)


def _has_field(instruction: x86.Instruction) -> bool:
    return (
        instruction.memory_base not in (x86.Register.NONE, x86.Register.RSP, x86.Register.RIP)
        and not instruction.is_ip_rel_memory_operand
        and instruction.mnemonic not in (x86.Mnemonic.LEA, x86.Mnemonic.NOP)
    )


def _is_frame(function: Function, base: x86.Register_) -> bool:
    """Whether a register is the function's frame pointer: set from the stack pointer near the function's start."""
    if base not in (x86.Register.RBP, x86.Register.R13, x86.Register.RBX):
        return False
    for index, instruction in enumerate(x86.Decoder(64, function.code, ip=0)):
        if index > 16:
            return False
        from_stack = instruction.mnemonic == x86.Mnemonic.MOV and instruction.op1_register == x86.Register.RSP
        from_stack = from_stack or (instruction.mnemonic == x86.Mnemonic.LEA and instruction.memory_base == x86.Register.RSP)
        if from_stack and instruction.op0_register == base:
            return True
    return False


def _same_but_distance(old: x86.Instruction, new: x86.Instruction) -> bool:
    for index in range(min(old.op_count, new.op_count)):
        if old.op_kind(index) != new.op_kind(index):
            return False
        if old.op_kind(index) in _IMMEDIATES and old.immediate(index) != new.immediate(index):
            return False
    return bool(old.memory_size == new.memory_size)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
