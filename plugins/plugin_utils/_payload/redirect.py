# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""How is a call of an old function led to the new one, and what must not be running while that is switched on?"""

from __future__ import annotations

from collections.abc import Iterable

import iced_x86 as x86

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

from .format import JUMP_SIZE, MAX_OVERWRITE, PADDINGS, PatchedFunction, Quiescence, Redirect
from .functions import Function, Program, RefKind
from .matching import Matching


def redirect(program: Program, function: Function, entry: int) -> PatchedFunction:
    """The redirection of one old function, checked against all of the old module's code.

    :param entry: region offset of the new function.
    :raises HotpatchError: ``build_function_too_short``, ``build_branch_into_entry``.
    """
    first = _instruction_lengths(function)[0]
    padding = program.image.read(function.rva - JUMP_SIZE, JUMP_SIZE)
    if first >= 2 and function.rva % 2 == 0 and function.length >= 2 and _is_free_padding(program, function.rva, padding):
        kind, overwrite = Redirect.SHORT, 2
    else:
        kind, overwrite, padding = Redirect.NEAR, _whole_instructions(function), b""
    _check_branches(program, function, overwrite)
    return PatchedFunction(
        name=function.name,
        rva=function.rva,
        length=function.length,
        expected=function.code,
        entry=entry,
        redirect=kind,
        padding=padding,
        overwrite=overwrite,
    )


def _is_free_padding(program: Program, rva: int, padding: bytes) -> bool:
    """Whether the bytes before the entry are padding that nothing executes or jumps to."""
    if padding not in PADDINGS or program.containing(rva - 1) or program.containing(rva - JUMP_SIZE):
        return False
    return not any(rva - JUMP_SIZE <= target < rva for target in _all_targets(program))


def _all_targets(program: Program) -> Iterable[int]:
    for function in program.functions:
        for reference in function.references:
            yield reference.target
    for at in program.image.relocations:
        target = program.image.pointer(at)
        if target is not None:
            yield target


def _instruction_lengths(function: Function) -> list[int]:
    ends = (*function.starts[1:], function.length)
    return [end - begin for begin, end in zip(function.starts, ends, strict=True)]


def _whole_instructions(function: Function) -> int:
    """How many bytes of whole instructions the 5 bytes of the jump touch."""
    end = next((end for end in (*function.starts[1:], function.length) if end >= JUMP_SIZE), 0)
    if not end or end > MAX_OVERWRITE:
        raise HotpatchError(
            "build_function_too_short",
            f"{function.name} has {function.length} bytes and no padding in front of it; a redirection needs {JUMP_SIZE}.",
            function.name,
            details={"function": function.name, "rva": function.rva, "length": function.length},
        )
    return end


def _check_branches(program: Program, function: Function, overwrite: int) -> None:
    """No branch of the function itself may lead to its entry, and no reference of anyone to bytes that are overwritten.

    A loop back to the very first instruction would start the new function in the middle of the old one's work.
    """
    own = sorted(target for target in function.branches if target < overwrite)
    if own:
        raise _branch_error(function, function.name, own[0])
    for other in program.functions:
        for reference in other.references:
            offset = reference.target - function.rva
            if 0 < offset < overwrite or (offset == 0 and other.rva == function.rva and reference.kind is RefKind.JUMP):
                raise _branch_error(function, other.name, offset)


def _branch_error(function: Function, source: str, offset: int) -> HotpatchError:
    return HotpatchError(
        "build_branch_into_entry",
        f"A branch in {source} leads to {function.name}+{offset:#x}, which the redirection overwrites.",
        function.name,
        details={"function": function.name, "rva": function.rva, "offset": offset, "from": source},
    )


def quiescence(matching: Matching, functions: Iterable[PatchedFunction]) -> tuple[Quiescence, str]:
    """What must stand still, and why, in words.

    Several changed functions of which one can call another, at any depth, may agree on something that changed; and a call
    that returns into bytes a 5-byte jump overwrites would return into the middle of the jump.
    """
    for patched in functions:
        if patched.redirect is Redirect.NEAR and _returns_into_jump(matching.old.by_rva[patched.rva]):
            return Quiescence.FUNCTIONS, f"a call in the first {JUMP_SIZE} bytes of {patched.name} returns into them"
    changed = {item.old.rva: item.old for item in matching.changed}
    for program, members in ((matching.old, changed), (matching.new, {item.new.rva: item.new for item in matching.changed})):
        for rva, function in members.items():
            for reached in sorted(_reachable(program, function) & set(members)):
                if len(members) > 1 and reached != rva:
                    return Quiescence.FUNCTIONS, f"{function.name} can call {members[reached].name}, and both changed"
    shared = _shared_data(matching)
    if shared:
        return Quiescence.FUNCTIONS, shared
    return Quiescence.ENTRY, "the changed functions are independent of each other"


def _returns_into_jump(function: Function) -> bool:
    calls = (x86.FlowControl.CALL, x86.FlowControl.INDIRECT_CALL)
    for instruction in x86.Decoder(64, function.code, ip=0):
        if instruction.next_ip >= JUMP_SIZE:
            return False
        if instruction.flow_control in calls:
            return True
    return False


def _reachable(program: Program, function: Function) -> set[int]:
    """RVAs of all functions that a function refers to, directly or through others."""
    found: set[int] = set()
    pending = [function]
    while pending:
        for reference in pending.pop().references:
            other = program.containing(reference.target)
            if other is not None and other.rva not in found and reference.kind is not RefKind.ACCESS:
                found.add(other.rva)
                pending.append(other)
    return found


def _shared_data(matching: Matching) -> str:
    """Words for static writable data that two changed functions refer to; empty when there is none."""
    users: dict[int, str] = {}
    for item in matching.changed:
        for rva in {reference.target for reference in item.new.references}:
            section = matching.new.image.section_at(rva)
            if section is None or not section.writable or rva in matching.new.image.imports:
                continue
            other = users.setdefault(rva, item.new.name)
            if other != item.new.name:
                return f"{other} and {item.new.name} share the static data at {rva:#x}, and both changed"
    return ""
