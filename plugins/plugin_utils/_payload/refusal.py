# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What can in-memory replacement not do, and which two builds ask for it?

Every refusal is one small class that looks for one thing. All of them look, so that the reader sees every reason at once; the
first in the list gives the code. Some can be overridden, by name, and then stand in the payload's explanation.
"""

from __future__ import annotations

import re
import typing as t
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import ERRORS, HotpatchError

from .datamap import SectionMap, Step
from .functions import Function, Program, RefKind
from .layout import field_shifts, grown_allocations
from .matching import Comparison, Matching
from .pe import Image

_MAX_CHANGED = 8
_MAX_CHANGED_SHARE = 0.1  # of all functions: a month's fix of one module is far below, a rebuild with other options far above
_MAX_NAMED = 20
_RVA = re.compile(r"0x[1-9a-f][0-9a-f]*")


@dataclass(frozen=True)
class Finding:
    """One reason to refuse."""

    code: str
    message: str
    functions: tuple[str, ...] = ()
    rvas: tuple[int, ...] = ()
    """Of the old build; an override may name them one by one."""

    def as_dict(self) -> dict[str, t.Any]:
        """For the error's details and the explanation."""
        return {
            "code": self.code,
            "text": ERRORS[self.code].text,
            "message": self.message,
            "remedy": ERRORS[self.code].remedy,
            "functions": list(self.functions),
            "rvas": list(self.rvas),
        }


class Refusal(t.Protocol):
    """Looks for one thing that cannot be done."""

    code: t.ClassVar[str]
    overridable: t.ClassVar[bool]

    def find(self, matching: Matching) -> Iterable[Finding]:
        """The reasons found."""


class DifferentModules:
    """The two files are not builds of one module."""

    code: t.ClassVar[str] = "build_different_modules"
    overridable: t.ClassVar[bool] = False

    def find(self, matching: Matching) -> Iterable[Finding]:
        """Compares what names the modules give themselves, and whether they have anything in common."""
        old, new = matching.old.image, matching.new.image
        if old.is_dll != new.is_dll:
            yield Finding(self.code, "One file is a DLL, the other a program.")
        elif old.name.lower() != new.name.lower():
            yield Finding(self.code, f"The old file calls itself '{old.name}', the new one '{new.name}'.")
        elif matching.old.functions and 2 * len(matching.pairs) < min(len(matching.old.functions), len(matching.new.functions)):
            common = f"{len(matching.pairs)} of {len(matching.old.functions)}"
            yield Finding(self.code, f"Only {common} functions of the old file are in the new one.")


class WholeRebuild:
    """So much differs that another compiler or other options are at work."""

    code: t.ClassVar[str] = "build_whole_rebuild"
    overridable: t.ClassVar[bool] = True

    def find(self, matching: Matching) -> Iterable[Finding]:
        """Counts changed and added functions."""
        names = [item.new.name for item in matching.changed] + [function.name for function in matching.added]
        total = len(matching.new.functions)
        if len(names) > max(_MAX_CHANGED, _MAX_CHANGED_SHARE * total):
            yield Finding(self.code, f"{len(names)} of {total} functions differ or are new.", tuple(names[:_MAX_NAMED]))


class ExportsChanged:
    """What the module offers to others is not the same."""

    code: t.ClassVar[str] = "build_exports_changed"
    overridable: t.ClassVar[bool] = True

    def find(self, matching: Matching) -> Iterable[Finding]:
        """Compares the names, and which function each of them names."""
        old, new = matching.old.image, matching.new.image
        removed, added = set(old.exports) - set(new.exports), set(new.exports) - set(old.exports)
        if removed or added or old.forwards != new.forwards:
            parts = [f"gone: {', '.join(sorted(removed))}"] * bool(removed) + [f"new: {', '.join(sorted(added))}"] * bool(added)
            yield Finding(self.code, f"The exports differ ({'; '.join(parts) or 'forwards'}).", tuple(sorted(removed | added)))
        for name in sorted(set(old.exports) & set(new.exports)):
            before, after = old.exports[name], new.exports[name]
            if old.is_code(before) and matching.pairs.get(after) != before:
                yield Finding(self.code, f"The export {name} names another function than before.", (name,), (before,))


class LayoutChanged:
    """New code would misread data that old code made."""

    code: t.ClassVar[str] = "build_layout_changed"
    overridable: t.ClassVar[bool] = True

    def find(self, matching: Matching) -> Iterable[Finding]:
        """Looks at static data, at fields behind pointers, and at what allocators are asked for."""
        for section in _data_sections(matching):
            yield from (self._step(matching, step) for step in section.steps())
        for change in matching.changed:
            shifts = field_shifts(change)
            if shifts:
                text = f"Fields of a structure moved. {'; '.join(map(str, shifts[:4]))}."
                yield Finding(self.code, text, (change.new.name,), (change.old.rva,))
            grown = grown_allocations(matching.old, change)
            if grown:
                text = f"Allocated objects have another size. {'; '.join(map(str, grown[:4]))}."
                yield Finding(self.code, text, (change.new.name,), (change.old.rva,))

    def _step(self, matching: Matching, step: Step) -> Finding:
        users = _users(matching.new, step.new_begin, step.new_end)
        changed = {item.new.rva for item in matching.changed} | {function.rva for function in matching.added}
        names = tuple(function.name for function in users if function.rva in changed) or tuple(function.name for function in users)
        grows = f"needs {step.growth} bytes more" if step.growth > 0 else f"needs {-step.growth} bytes less"
        text = (
            f"Static data in {step.section} at {step.old_begin:#x} {grows} in the new build ({step.new_begin:#x} to {step.new_end:#x}), "
            f"used by {', '.join(names) or 'no function that is known'}."
        )
        return Finding(self.code, text, names, (step.old_begin,))


class DataChanged:
    """Variables start with other values, which a running process no longer reads from the file."""

    code: t.ClassVar[str] = "build_data_changed"
    overridable: t.ClassVar[bool] = True

    def find(self, matching: Matching) -> Iterable[Finding]:
        """Compares initialised writable data wherever its layout is the same."""
        comparison = Comparison(matching.old, matching.new, matching.pairs)
        for section in _data_sections(matching):
            for (new_begin, old_begin), (new_end, old_end) in zip(section.pins, section.pins[1:], strict=False):
                if new_end - new_begin != old_end - old_begin:
                    continue
                at = _difference(matching, comparison, new_begin, old_begin, new_end - new_begin)
                if at is not None:
                    users = tuple(function.name for function in _users(matching.new, new_begin, new_end))
                    by = ", ".join(users) or "no function"
                    text = f"Initialised data in {section.old.name} at {old_begin + at:#x} differs, used by {by}."
                    yield Finding(self.code, text, users, (old_begin + at,))


class TlsChanged:
    """New code uses thread-local variables that the running threads do not have."""

    code: t.ClassVar[str] = "build_tls_changed"
    overridable: t.ClassVar[bool] = False

    def find(self, matching: Matching) -> Iterable[Finding]:
        """Looks at changed and new functions that read the thread's pointer to its variables."""
        old, new = matching.old.image.tls, matching.new.image.tls
        same = (old is None) == (new is None) and (
            old is None or new is None or (old.template, old.zero_fill) == (new.template, new.zero_fill)
        )
        for item in matching.changed:
            if item.new.uses_tls and not (same and item.old.uses_tls):
                yield Finding(self.code, f"{item.new.name} uses thread-local storage differently.", (item.new.name,), (item.old.rva,))
        for function in matching.added:
            if function.uses_tls:
                yield Finding(self.code, f"The new function {function.name} uses thread-local storage.", (function.name,))


class InitialiserChanged:
    """What changed has already run, or runs only when the module goes away."""

    code: t.ClassVar[str] = "build_initialiser_changed"
    overridable: t.ClassVar[bool] = True

    def find(self, matching: Matching) -> Iterable[Finding]:
        """Looks for changed functions that only the loader's calls lead to."""
        only_old, only_new = load_only(matching.old), load_only(matching.new)
        for item in matching.changed:
            if item.old.rva in only_old or item.new.rva in only_new:
                yield Finding(self.code, f"{item.new.name} runs only at load or unload.", (item.new.name,), (item.old.rva,))


class NoChange:
    """There is nothing to carry."""

    code: t.ClassVar[str] = "build_no_change"
    overridable: t.ClassVar[bool] = False

    def find(self, matching: Matching) -> Iterable[Finding]:
        """No function differs and none is new."""
        if not matching.changed and not matching.added:
            yield Finding(self.code, f"All {len(matching.pairs)} functions are the same in both builds.")


REFUSALS: t.Final[Sequence[Refusal]] = (
    DifferentModules(),
    WholeRebuild(),
    ExportsChanged(),
    LayoutChanged(),
    DataChanged(),
    TlsChanged(),
    InitialiserChanged(),
    NoChange(),
)
"""In the order in which they give the error its code: the one that explains most comes first."""


@dataclass(frozen=True)
class Overrides:
    """What the caller takes responsibility for: codes, or ``code@0x<rva of the old build>``."""

    names: frozenset[str] = field(default_factory=frozenset)

    def check(self) -> None:
        """:raises HotpatchError: ``argument_invalid`` for an override that does not exist."""
        possible = {refusal.code for refusal in REFUSALS if refusal.overridable}
        for name in sorted(self.names):
            code, _, rva = name.partition("@")
            if code not in possible or ("@" in name and not _RVA.fullmatch(rva)):
                raise HotpatchError(
                    "argument_invalid", f"'{name}' cannot be overridden; possible: {', '.join(sorted(possible))}.", "overrides"
                )

    def cover(self, finding: Finding) -> bool:
        """Whether a finding is accepted."""
        if finding.code in self.names:
            return True
        return bool(finding.rvas) and all(f"{finding.code}@{rva:#x}" in self.names for rva in finding.rvas)


def check(matching: Matching, overrides: Overrides) -> list[Finding]:
    """Refuses, or gives the findings that were overridden.

    :raises HotpatchError: the first finding's code, with all of them in ``details["refusals"]``.
    """
    overrides.check()
    by_code = {refusal.code: refusal.overridable for refusal in REFUSALS}
    findings = [finding for refusal in REFUSALS for finding in refusal.find(matching)]
    accepted = [finding for finding in findings if by_code[finding.code] and overrides.cover(finding)]
    refused = [finding for finding in findings if finding not in accepted]
    if refused:
        first = refused[0]
        raise HotpatchError(
            first.code,
            first.message,
            ", ".join(first.functions[:4]),
            details={"functions": list(first.functions), "refusals": [finding.as_dict() for finding in refused]},
        )
    return accepted


# -- what the refusals look at --------------------------------------------------------------------------------------------------


def _data_sections(matching: Matching) -> list[SectionMap]:
    """Writable sections but for the one with the import table, which the loader fills by name."""
    image = matching.new.image
    return [item for item in matching.data.sections.values() if not any(item.new.rva <= slot < item.new.end for slot in image.imports)]


def _users(program: Program, begin: int, end: int) -> list[Function]:
    return [f for f in program.functions if any(begin <= reference.target < end for reference in f.references)]


def _difference(matching: Matching, comparison: Comparison, new_begin: int, old_begin: int, size: int) -> int | None:
    """The first place where initialised data differs; relocated pointers are the same when they lead to the same thing."""
    old, new = matching.old.image, matching.new.image
    slots = new.relocations_in(new_begin, new_begin + size)
    if [at - new_begin for at in slots] != [at - old_begin for at in old.relocations_in(old_begin, old_begin + size)]:
        return 0
    left, right = bytearray(old.read(old_begin, size)), bytearray(new.read(new_begin, size))
    for at in slots:
        slot = at - new_begin
        left[slot : slot + 8] = right[slot : slot + 8] = bytes(len(left[slot : slot + 8]))
        if not comparison.same_pointer(old_begin + slot, at):
            return slot
    return next((index for index, (before, after) in enumerate(zip(left, right, strict=False)) if before != after), None)


def load_only(program: Program) -> frozenset[int]:
    """RVAs of the functions that only the loader's calls at load and unload lead to.

    A program's own entry point is its whole life, so for programs only thread callbacks and initialiser tables count.
    """
    image = program.image
    loader = set(_initialisers(image)) | ({image.entry_point} if image.is_dll else set())
    normal = set(image.exports.values()) | (set() if image.is_dll else {image.entry_point})
    for function in program.functions:
        normal.update(ref.target for ref in function.references if ref.kind in (RefKind.ADDRESS, RefKind.POINTER))
    tables = _initialiser_tables(image)
    for at in image.relocations:
        target = image.pointer(at)
        if target is not None and not any(begin <= at < end for begin, end in tables):
            normal.add(target)
    return frozenset(_called(program, loader) - _called(program, normal - loader))


def _initialiser_tables(image: Image) -> list[tuple[int, int]]:
    tables = [(section.rva, section.end) for section in image.sections if section.name == ".CRT"]
    if image.tls and image.tls.callbacks_array:
        tables.append((image.tls.callbacks_array, image.tls.callbacks_array + 8 * len(image.tls.callbacks)))
    return tables


def _initialisers(image: Image) -> Iterable[int]:
    for begin, end in _initialiser_tables(image):
        yield from (target for at in image.relocations_in(begin, end) if (target := image.pointer(at)) is not None)


def _called(program: Program, roots: Iterable[int]) -> set[int]:
    """The functions that direct calls and jumps reach from the roots, roots included."""
    pending = [rva for rva in roots if rva in program.by_rva]
    found = set(pending)
    by_rva: Mapping[int, Function] = program.by_rva
    while pending:
        for reference in by_rva[pending.pop()].references:
            other = program.containing(reference.target)
            if other is not None and other.rva not in found and reference.kind in (RefKind.CALL, RefKind.JUMP):
                found.add(other.rva)
                pending.append(other.rva)
    return found
