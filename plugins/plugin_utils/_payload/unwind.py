# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""How is a function's unwind data carried into the region?

UNWIND_INFO names other things by 32-bit distances from the base of the table it is registered with. In a module that is the
image base; a payload's table is registered with the region's base, so every such distance must stay inside the region: handlers
are reached through a jump there. What a handler finds behind UNWIND_INFO is its own format; three are known.
"""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

from .functions import Function, Program, chained_row_at
from .lsda import parse_lsda
from .pe import UNW_FLAG_CHAININFO, UNW_FLAG_EHANDLER, UNW_FLAG_UHANDLER, RuntimeFunction
from .region import Destination, Field, FieldKind, InRegion, Piece, PieceKind

_EXECUTE_HANDLER = 1  # in a scope table: not a filter's address but its constant answer
_MAX_SCOPES = 4096

Thunk = Callable[[int, str], InRegion]
TypeSlot = Callable[[int, str], Destination]


def carry_unwind(program: Program, function: Function, row: RuntimeFunction, thunk: Thunk, type_slot: TypeSlot) -> Piece:
    """The unwind data of one row, ready for the region.

    :param thunk: gives a jump in the region to a function of the new build.
    :param type_slot: gives the place of a pointer that a C++ type table names.
    :raises HotpatchError: ``build_unsupported_unwind``.
    """
    image = program.image
    header = image.read(row.unwind, 4)
    if len(header) < 4 or header[0] & 7 not in (1, 2) or row.unwind % 4:
        raise _unsupported(function, "its unwind data has an unknown version")
    flags, handler_at = header[0] >> 3, chained_row_at(image, row.unwind)
    size = handler_at - row.unwind
    fields: list[Field] = []
    if flags & UNW_FLAG_CHAININFO:
        size += 12
        fields = _chain(program, function, row)
    elif flags & (UNW_FLAG_EHANDLER | UNW_FLAG_UHANDLER):
        handler = image.u32(handler_at)
        fields = [Field(size, FieldKind.OFFSET, thunk(handler, f"the unwind data of {function.name}"))]
        size += 4
        length, more = _handler_data(program, function, handler, handler_at + 4, size, thunk, type_slot)
        fields += more
        size += length
    return Piece(PieceKind.UNWIND, row.unwind, image.read(row.unwind, size), 4, fields)


def _chain(program: Program, function: Function, row: RuntimeFunction) -> list[Field]:
    at = chained_row_at(program.image, row.unwind)
    begin, end, info = (program.image.u32(at + 4 * index) for index in range(3))
    if not function.rva <= begin < end <= function.end or info not in {part.unwind for part in function.unwind}:
        raise _unsupported(function, "its unwind data is chained to that of another function")
    base = at - row.unwind
    return [
        Field(base, FieldKind.OFFSET, InRegion(PieceKind.FUNCTION, function.rva, begin - function.rva)),
        Field(base + 4, FieldKind.OFFSET, InRegion(PieceKind.FUNCTION, function.rva, end - function.rva)),
        Field(base + 8, FieldKind.OFFSET, InRegion(PieceKind.UNWIND, info)),
    ]


def _handler_data(
    program: Program, function: Function, handler: int, at: int, base: int, thunk: Thunk, type_slot: TypeSlot
) -> tuple[int, list[Field]]:
    """How long the handler's own data at ``at`` is, and its fields; ``base`` is its offset in the piece."""
    name = handler_name(program, handler)
    if name == "__C_specific_handler":
        return _scope_table(program, function, at, base, thunk)
    if name == "__GSHandlerCheck":
        return 4, []  # the cookie's place in the frame: no address
    lsda = parse_lsda(program.image, function.length, at) if not name or name.startswith("__g") else None
    if lsda is None:
        raise _unsupported(function, f"the data of its exception handler ({name or hex(handler)}) has an unknown form")
    where = f"the exception data of {function.name}"
    fields = [
        Field(base + slot - at, FieldKind.RELATIVE, type_slot(target, where), trail=-4)  # counted from the field itself
        for slot, target in lsda.types
    ]
    return lsda.size, fields


def handler_name(program: Program, rva: int) -> str:
    """The name of an exception handler: of the import its jump leads to, its symbol, its export; empty when it has none."""
    function = program.by_rva.get(rva)
    if function is None:
        return ""
    if len(function.references) == 1 and function.length <= 8 and function.references[0].target in program.image.imports:
        return program.image.imports[function.references[0].target].rpartition("!")[2]
    return "" if function.name.startswith("sub_") else function.name


def _scope_table(program: Program, function: Function, at: int, base: int, thunk: Thunk) -> tuple[int, list[Field]]:
    """``__try`` of C: a count, then begin, end, filter or finally block, and target of each guarded range."""
    image = program.image
    count = image.u32(at)
    if count > _MAX_SCOPES:
        raise _unsupported(function, "its table of guarded ranges is damaged")
    fields = []
    for index in range(count):
        for column in range(4):
            place = at + 4 + 16 * index + 4 * column
            value = image.u32(place)
            offset = base + place - at
            if function.rva <= value <= function.end:
                fields.append(Field(offset, FieldKind.OFFSET, InRegion(PieceKind.FUNCTION, function.rva, value - function.rva)))
            elif column == 2 and value != _EXECUTE_HANDLER:
                fields.append(Field(offset, FieldKind.OFFSET, thunk(value, f"an exception filter of {function.name}")))
            elif not (column == 2 or (column == 3 and value == 0)):
                raise _unsupported(function, "a guarded range lies outside of it")
    return 4 + 16 * count, fields


def _unsupported(function: Function, what: str) -> HotpatchError:
    return HotpatchError(
        "build_unsupported_unwind", f"{function.name}: {what}.", function.name, details={"function": function.name, "rva": function.rva}
    )
