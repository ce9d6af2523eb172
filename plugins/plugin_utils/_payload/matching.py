# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Which function of the new build is which function of the old one, and which of them changed?

Names pair what has a name. The rest is aligned in link order by shape and by what is referred to; what is left between two
paired neighbours is paired when it is alike. Then every pair is compared reference by reference: a function is unchanged only
if its shape is the same *and* everything it refers to is the same thing in both builds.
"""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .datamap import DataMap, Evidence, map_sections
from .functions import Function, JumpTable, Program, Reference, RefKind

_ALIKE = 0.5  # share of common instructions from which two unnamed functions in the same place count as the same function
_GAP_REACH = 8  # how many functions may have come or gone in one place; keeps files that share nothing from taking minutes
_MAX_DEPTH = 4  # of pointers followed from one constant to the next when constants are compared
_MAX_STRING = 256


class Reason(enum.Enum):
    """Why a function counts as changed."""

    CODE = "its instructions differ"
    CALL = "it refers to another function"
    CONSTANT = "a constant it uses differs"
    IMPORT = "it uses another import"
    DATA = "it refers to other static data"


@dataclass(frozen=True)
class ChangedFunction:
    """A function that is in both builds and differs."""

    old: Function
    new: Function
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Matching:
    """Two builds of a module, function by function."""

    old: Program
    new: Program
    pairs: Mapping[int, int]
    """RVA of a function in the new build → its RVA in the old one."""
    changed: tuple[ChangedFunction, ...]
    added: tuple[Function, ...]
    removed: tuple[Function, ...]
    data: DataMap
    """Where the new build's static writable data is in the old one."""

    def old_function(self, new_rva: int) -> Function | None:
        """The partner in the old build."""
        rva = self.pairs.get(new_rva)
        return None if rva is None else self.old.by_rva[rva]


def match(old: Program, new: Program) -> Matching:
    """Pairs the functions of two builds and finds those that changed."""
    pairs = _pair(old, new)
    comparison = Comparison(old, new, pairs)
    reasons = {new_rva: comparison.compare(old.by_rva[old_rva], new.by_rva[new_rva]) for new_rva, old_rva in pairs.items()}
    evidence = [
        item for rva, found in reasons.items() if not found for item in _data_evidence(old, new, old.by_rva[pairs[rva]], new.by_rva[rva])
    ]
    data = map_sections(old.image, new.image, evidence)
    for item in data.outliers:
        reasons[item.function].add(Reason.DATA)
    changed = tuple(
        ChangedFunction(old.by_rva[pairs[rva]], new.by_rva[rva], tuple(sorted(found, key=lambda reason: reason.name)))
        for rva, found in sorted(reasons.items())
        if found
    )
    partners = set(pairs.values())
    return Matching(
        old,
        new,
        pairs,
        changed,
        tuple(function for function in new.functions if function.rva not in pairs),
        tuple(function for function in old.functions if function.rva not in partners),
        data,
    )


# -- pairing -------------------------------------------------------------------------------------------------------------------


def _pair(old: Program, new: Program) -> dict[int, int]:
    pairs: dict[int, int] = {}
    _pair_names(old, new, pairs)
    _pair_aligned(old, new, pairs)
    _pair_callees(old, new, pairs)
    _pair_gaps(old, new, pairs)
    return pairs


def _pair_names(old: Program, new: Program, pairs: dict[int, int]) -> None:
    """Exports, entry point, thread callbacks and symbols: what a name or the header fixes."""

    def add(new_rva: int, old_rva: int) -> None:
        if new_rva in new.by_rva and old_rva in old.by_rva and new_rva not in pairs and old_rva not in pairs.values():
            pairs[new_rva] = old_rva

    for name, rva in new.image.exports.items():
        if name in old.image.exports:
            add(rva, old.image.exports[name])
    add(new.image.entry_point, old.image.entry_point)
    if old.image.tls and new.image.tls and len(old.image.tls.callbacks) == len(new.image.tls.callbacks):
        for new_rva, old_rva in zip(new.image.tls.callbacks, old.image.tls.callbacks, strict=True):
            add(new_rva, old_rva)
    by_symbol = _unique_symbols(old)
    for name, rva in _unique_symbols(new).items():
        if name in by_symbol:
            add(rva, by_symbol[name])


def _unique_symbols(program: Program) -> dict[str, int]:
    counts: dict[str, list[int]] = {}
    for rva, name in program.image.symbols.items():
        counts.setdefault(name, []).append(rva)
    return {name: rvas[0] for name, rvas in counts.items() if len(rvas) == 1}


def _pair_aligned(old: Program, new: Program, pairs: dict[int, int]) -> None:
    """Aligns both link orders by what each function looks like; named pairs are anchors that only fit each other."""
    anchors = {old_rva: new_rva for new_rva, old_rva in pairs.items()}
    old_keys = [("pair", anchors[f.rva]) if f.rva in anchors else _key(old, f) for f in old.functions]
    new_keys = [("pair", f.rva) if f.rva in pairs else _key(new, f) for f in new.functions]
    matcher = difflib.SequenceMatcher(None, old_keys, new_keys, autojunk=False)
    for block in matcher.get_matching_blocks():
        for step in range(block.size):
            pairs[new.functions[block.b + step].rva] = old.functions[block.a + step].rva


def _key(program: Program, function: Function) -> tuple[object, ...]:
    return (function.shape, *(_label(program, reference) for reference in function.references))


def _label(program: Program, reference: Reference) -> str:
    """What a reference is to, as far as that can be said without knowing any pair."""
    image = program.image
    if reference.target in image.imports:
        return image.imports[reference.target]
    if image.is_code(reference.target):
        return "code"
    section = image.section_at(reference.target)
    if section is None or section.writable:
        return "data"
    text = image.read(reference.target, _MAX_STRING).split(b"\0", 1)[0]
    if reference.kind is RefKind.ADDRESS and len(text) > 3 and all(byte >= 0x20 or byte in b"\t\r\n" for byte in text):
        return "text:" + text.decode("latin-1")
    return "constant"


def _pair_callees(old: Program, new: Program, pairs: dict[int, int]) -> None:
    """Functions in another order are found through callers that look the same."""
    taken = set(pairs.values())
    pending = list(pairs.items())
    while pending:
        new_rva, old_rva = pending.pop()
        old_function, new_function = old.by_rva[old_rva], new.by_rva[new_rva]
        if old_function.shape != new_function.shape:
            continue
        for before, after in zip(old_function.references, new_function.references, strict=True):
            if before.target in old.by_rva and after.target in new.by_rva and after.target not in pairs and before.target not in taken:
                pairs[after.target] = before.target
                taken.add(before.target)
                pending.append((after.target, before.target))


def _pair_gaps(old: Program, new: Program, pairs: dict[int, int]) -> None:
    """Pairs what is left between two paired neighbours, in order, when it is alike."""
    taken = set(pairs.values())
    for new_gap, low, high in _gaps(new, pairs):
        old_gap = [f for f in old.functions if low < f.rva < high and f.rva not in taken]
        position = 0
        for function in new_gap:
            for index in range(position, min(position + _GAP_REACH, len(old_gap))):
                if similarity(old_gap[index], function) >= _ALIKE:
                    pairs[function.rva] = old_gap[index].rva
                    taken.add(old_gap[index].rva)
                    position = index + 1
                    break


def _gaps(new: Program, pairs: Mapping[int, int]) -> Iterator[tuple[list[Function], int, int]]:
    """Runs of unpaired new functions with the old RVAs of the paired neighbours before and behind them."""
    gap: list[Function] = []
    low = -1
    for function in new.functions:
        if function.rva not in pairs:
            gap.append(function)
            continue
        if gap:
            yield gap, low, max(pairs[function.rva], low)
        gap, low = [], pairs[function.rva]
    if gap:
        yield gap, low, 1 << 62


def similarity(old: Function, new: Function) -> float:
    """How much of two functions' instructions is the same, from 0 to 1; 0 also where their counts alone rule out being alike."""
    counts = len(old.starts), len(new.starts)
    if 2 * min(counts) < _ALIKE * sum(counts):
        return 0.0
    return difflib.SequenceMatcher(None, tokens(old), tokens(new), autojunk=False).ratio()


def tokens(function: Function) -> list[bytes]:
    """The function's instructions, with addresses outside of it taken out."""
    ends = (*function.starts[1:], function.length)
    return [function.shape[begin:end] for begin, end in zip(function.starts, ends, strict=True)]


# -- comparing -----------------------------------------------------------------------------------------------------------------


@dataclass
class Comparison:
    """Says whether things of two builds whose functions are paired are the same."""

    old: Program
    new: Program
    pairs: Mapping[int, int]
    _constants: dict[tuple[int, int, int], bool] = field(default_factory=dict)

    def compare(self, old: Function, new: Function) -> set[Reason]:
        """Why the pair counts as changed; nothing when it does not. Static data is judged later, by the map of all data."""
        if old.shape != new.shape or len(old.references) != len(new.references):
            return {Reason.CODE}
        reasons = set()
        for before, after in zip(old.references, new.references, strict=True):
            if (before.offset, before.kind, before.width) != (after.offset, after.kind, after.width):
                reasons.add(Reason.CODE)
            else:
                reasons |= self._compare_reference(old, new, before, after)
        return reasons

    def _compare_reference(self, old: Function, new: Function, before: Reference, after: Reference) -> set[Reason]:
        import_before, import_after = self.old.image.imports.get(before.target), self.new.image.imports.get(after.target)
        if import_before or import_after:
            return set() if import_before == import_after else {Reason.IMPORT}
        code = self._same_code(before.target, after.target)
        if code is not None:
            return set() if code else {Reason.CALL}
        table_before, table_after = _table_at(old, before.target), _table_at(new, after.target)
        if table_before or table_after:
            same = table_before is not None and table_after is not None and table_before.targets == table_after.targets
            return set() if same else {Reason.CONSTANT}
        if self._is_writable(before.target, after.target):
            return set()
        return set() if self._same_constant(before.target, after.target, after.width, 0) else {Reason.CONSTANT}

    def _same_code(self, before: int, after: int) -> bool | None:
        """Whether two code addresses are the same place of the same function; nothing when neither is in a function."""
        old, new = self.old.containing(before), self.new.containing(after)
        if old is None and new is None:
            return None
        return old is not None and new is not None and self.pairs.get(new.rva) == old.rva and before - old.rva == after - new.rva

    def _is_writable(self, before: int, after: int) -> bool:
        old, new = self.old.image.section_at(before), self.new.image.section_at(after)
        return old is not None and new is not None and old.writable and new.writable and old.name == new.name

    def _same_constant(self, before: int, after: int, width: int, depth: int) -> bool:
        """Whether read-only data is the same: so many bytes, or up to where the next object begins in either build."""
        key = (before, after, width)
        if key not in self._constants:
            self._constants[key] = True  # a circle of pointers is the same when nothing else in it differs
            self._constants[key] = self._compare_constant(before, after, width, depth)
        return self._constants[key]

    def _compare_constant(self, before: int, after: int, width: int, depth: int) -> bool:
        old, new = self.old.image, self.new.image
        section_before, section_after = old.section_at(before), new.section_at(after)
        if section_before is None or section_after is None:
            return section_before is section_after and old.edge(before) == new.edge(after) != ""
        if section_before.name != section_after.name:
            return False
        size = width or min(self.old.next_boundary(before) - before, self.new.next_boundary(after) - after)
        slots_before = [at - before for at in old.relocations_in(before, before + size)]
        slots_after = [at - after for at in new.relocations_in(after, after + size)]
        if slots_before != slots_after:
            return False
        left, right = bytearray(old.read(before, size)), bytearray(new.read(after, size))
        for slot in slots_before:
            left[slot : slot + 8] = right[slot : slot + 8] = bytes(len(left[slot : slot + 8]))
        return left == right and all(self.same_pointer(before + slot, after + slot, depth) for slot in slots_before)

    def same_pointer(self, before: int, after: int, depth: int = 0) -> bool:
        """Whether the relocated pointers at two RVAs lead to the same function, constant or section of static data."""
        old, new = self.old.image.pointer(before), self.new.image.pointer(after)
        if old is None or new is None:
            return old is new
        code = self._same_code(old, new)
        if code is not None:
            return code
        if self._is_writable(old, new) or depth >= _MAX_DEPTH:
            return True
        return self._same_constant(old, new, 0, depth + 1)


def _table_at(function: Function, rva: int) -> JumpTable | None:
    return next((table for table in function.jump_tables if table.rva == rva), None)


def _data_evidence(old: Program, new: Program, old_function: Function, new_function: Function) -> Iterator[Evidence]:
    """Pairs of static data that an unchanged function refers to in the same place, directly or through a constant pointer."""
    for before, after in zip(old_function.references, new_function.references, strict=True):
        places = [(before.target, after.target), (old.image.pointer(before.target), new.image.pointer(after.target))]
        for old_rva, new_rva in places:
            section = new.image.section_at(new_rva) if new_rva is not None else None
            if old_rva is not None and new_rva is not None and section and section.writable and new_rva not in new.image.imports:
                yield Evidence(new_rva, old_rva, new_function.rva)
