# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What is in a payload, and is a given content valid? docs/payload.md is the contract; the agent checks the same."""

from __future__ import annotations

import enum
import re
import typing as t
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

from . import cbor

FORMAT: t.Final = 1
MACHINE_AMD64: t.Final = 0x8664
PAGE: t.Final = 4096
MAX_REGION: t.Final = 8 * 1024 * 1024
ENTRY_ALIGNMENT: t.Final = 16
JUMP_SIZE: t.Final = 5
"""Of ``jmp rel32``, the jump every redirection ends in."""
MAX_OVERWRITE: t.Final = 15
_ADDRESS_LIMIT: t.Final = 1 << 31
_MAX_NAME: t.Final = 1024
_MAX_TITLE: t.Final = 200
_ID: t.Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_CONTROL: t.Final = re.compile(r"[\x00-\x1f\x7f]")
_FILE_NAME: t.Final = re.compile(r'[^\x00-\x1f\x7f\\/:*?"<>|]{1,255}')
_E = t.TypeVar("_E", bound=enum.Enum)
_T = t.TypeVar("_T")
PADDINGS: t.Final = (b"\x90" * 5, b"\xcc" * 5, b"\x0f\x1f\x44\x00\x00")


class Protection(enum.Enum):
    """What the pages of a section of the region allow."""

    EXECUTE = "rx"
    READ = "r"
    WRITE = "rw"


class FixupKind(enum.Enum):
    """What is written where a fixup points."""

    REL32 = "rel32"
    ABS64 = "abs64"


class FixupBase(enum.Enum):
    """What a fixup's value counts from."""

    TARGET = "target"
    REGION = "region"


class Redirect(enum.Enum):
    """How a call of the old function gets to the new one."""

    SHORT = "short"
    NEAR = "near"


class Quiescence(enum.Enum):
    """What must not be running when the entries change."""

    ENTRY = "entry"
    FUNCTIONS = "functions"


@dataclass(frozen=True)
class TargetId:
    """The one build of the module that the payload is for."""

    name: str
    sha256: bytes
    size: int
    checksum: int
    timestamp: int
    image_size: int


@dataclass(frozen=True)
class RegionSection:
    """A run of pages of the region."""

    offset: int
    size: int
    protection: Protection
    data: bytes


@dataclass(frozen=True)
class Fixup:
    """A field that can only be computed once the region has its place."""

    offset: int
    kind: FixupKind
    base: FixupBase
    value: int
    addend: int

    @property
    def size(self) -> int:
        """Bytes of the field."""
        return 4 if self.kind is FixupKind.REL32 else 8


@dataclass(frozen=True)
class UnwindEntry:
    """A RUNTIME_FUNCTION of the region."""

    begin: int
    end: int
    info: int


@dataclass(frozen=True)
class PatchedFunction:
    """An old function and where its new code is."""

    name: str
    rva: int
    length: int
    expected: bytes
    entry: int
    redirect: Redirect
    padding: bytes
    overwrite: int


@dataclass(frozen=True)
class Payload:
    """The whole content."""

    id: str
    sequence: int
    created: int
    expires: int
    title: str
    cves: tuple[str, ...]
    replaces: tuple[str, ...]
    quiescence: Quiescence
    target: TargetId
    region_size: int
    sections: tuple[RegionSection, ...]
    fixups: tuple[Fixup, ...]
    unwind: tuple[UnwindEntry, ...]
    functions: tuple[PatchedFunction, ...]


# -- writing -------------------------------------------------------------------------------------------------------------------


def encode(payload: Payload) -> bytes:
    """The content's bytes; the same payload always gives the same bytes.

    :raises HotpatchError: ``payload_malformed`` when the payload breaks a rule of the format.
    """
    _check(payload)
    target = payload.target
    content: Mapping[str, cbor.Value] = {
        "format": FORMAT,
        "id": payload.id,
        "sequence": payload.sequence,
        "created": payload.created,
        "expires": payload.expires,
        "title": payload.title,
        "cves": payload.cves,
        "replaces": payload.replaces,
        "machine": MACHINE_AMD64,
        "quiescence": payload.quiescence.value,
        "target": {
            "name": target.name,
            "sha256": target.sha256,
            "size": target.size,
            "checksum": target.checksum,
            "timestamp": target.timestamp,
            "image_size": target.image_size,
        },
        "region": {"size": payload.region_size, "sections": [_encode_section(section) for section in payload.sections]},
        "fixups": [_encode_fixup(fixup) for fixup in payload.fixups],
        "unwind": [{"begin": entry.begin, "end": entry.end, "info": entry.info} for entry in payload.unwind],
        "functions": [_encode_function(function) for function in payload.functions],
    }
    return cbor.encode(content)


def _encode_section(section: RegionSection) -> Mapping[str, cbor.Value]:
    return {"offset": section.offset, "size": section.size, "protection": section.protection.value, "data": section.data}


def _encode_fixup(fixup: Fixup) -> Mapping[str, cbor.Value]:
    return {
        "offset": fixup.offset,
        "kind": fixup.kind.value,
        "base": fixup.base.value,
        "value": fixup.value,
        "addend": fixup.addend,
    }


def _encode_function(function: PatchedFunction) -> Mapping[str, cbor.Value]:
    return {
        "name": function.name,
        "rva": function.rva,
        "length": function.length,
        "expected": function.expected,
        "entry": function.entry,
        "redirect": function.redirect.value,
        "padding": function.padding,
        "overwrite": function.overwrite,
    }


# -- reading -------------------------------------------------------------------------------------------------------------------


def decode(content: bytes) -> Payload:
    """The payload of a content whose signature was verified.

    :raises HotpatchError: ``payload_malformed``, ``payload_format_unsupported``.
    """
    try:
        reader = cbor.Reader(content)
        value = reader.value()
        reader.end()
    except HotpatchError as error:
        # The content arrived whole, as its signature says: what looks like an early end is damage of its making.
        raise HotpatchError("payload_malformed", f"The payload's content is damaged. {error.message}") from error
    if not isinstance(value, Mapping):
        raise _malformed("the content is not a map")
    number = {str(key): item for key, item in value.items()}.get("format")
    if isinstance(number, int) and number != FORMAT:
        raise HotpatchError("payload_format_unsupported", f"The payload has format {number}; this collection knows {FORMAT}.")
    with _Fields(value, "content") as fields:
        payload = _decode_content(fields)
    _check(payload)
    return payload


class _Fields:
    """The entries of one map, taken out one by one; every entry must be taken and none may be missing."""

    def __init__(self, value: cbor.Value, where: str) -> None:
        if not isinstance(value, Mapping):
            raise _malformed(f"{where} is not a map")
        self._rest: dict[str, cbor.Value] = {str(key): item for key, item in value.items()}
        self._where = where

    def __enter__(self) -> _Fields:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._rest:
            raise _malformed(f"{self._where} has the unknown key '{min(self._rest)}'")

    def _take(self, key: str) -> cbor.Value:
        if key not in self._rest:
            raise _malformed(f"{self._where} lacks the key '{key}'")
        return self._rest.pop(key)

    def integer(self, key: str) -> int:
        value = self._take(key)
        if not isinstance(value, int):
            raise _malformed(f"{self._where}.{key} is not a number")
        return value

    def unsigned(self, key: str) -> int:
        value = self.integer(key)
        if value < 0:
            raise _malformed(f"{self._where}.{key} is negative")
        return value

    def text(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str):
            raise _malformed(f"{self._where}.{key} is not a text")
        return value

    def data(self, key: str) -> bytes:
        value = self._take(key)
        if not isinstance(value, bytes):
            raise _malformed(f"{self._where}.{key} is not a byte string")
        return value

    def choice(self, key: str, choices: type[_E]) -> _E:
        text = self.text(key)
        for member in choices:
            if member.value == text:
                return member
        raise _malformed(f"{self._where}.{key} is '{text}'")

    def items(self, key: str) -> Sequence[cbor.Value]:
        value = self._take(key)
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            raise _malformed(f"{self._where}.{key} is not a list")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        items = self.items(key)
        if not all(isinstance(item, str) for item in items):
            raise _malformed(f"{self._where}.{key} holds what is not a text")
        return tuple(str(item) for item in items)

    def map(self, key: str) -> _Fields:
        return _Fields(self._take(key), f"{self._where}.{key}")

    def maps(self, key: str, read: Callable[[_Fields], _T]) -> tuple[_T, ...]:
        rows = []
        for index, item in enumerate(self.items(key)):
            with _Fields(item, f"{self._where}.{key}[{index}]") as fields:
                rows.append(read(fields))
        return tuple(rows)


def _decode_content(fields: _Fields) -> Payload:
    if fields.integer("format") != FORMAT or fields.integer("machine") != MACHINE_AMD64:
        raise _malformed("format or machine is not the documented one")
    with fields.map("target") as part:
        target = TargetId(
            name=part.text("name"),
            sha256=part.data("sha256"),
            size=part.unsigned("size"),
            checksum=part.unsigned("checksum"),
            timestamp=part.unsigned("timestamp"),
            image_size=part.unsigned("image_size"),
        )
    with fields.map("region") as part:
        region_size, sections = part.unsigned("size"), part.maps("sections", _decode_section)
    return Payload(
        id=fields.text("id"),
        sequence=fields.unsigned("sequence"),
        created=fields.unsigned("created"),
        expires=fields.unsigned("expires"),
        title=fields.text("title"),
        cves=fields.texts("cves"),
        replaces=fields.texts("replaces"),
        quiescence=fields.choice("quiescence", Quiescence),
        target=target,
        region_size=region_size,
        sections=sections,
        fixups=fields.maps("fixups", _decode_fixup),
        unwind=fields.maps("unwind", lambda row: UnwindEntry(row.unsigned("begin"), row.unsigned("end"), row.unsigned("info"))),
        functions=fields.maps("functions", _decode_function),
    )


def _decode_section(row: _Fields) -> RegionSection:
    return RegionSection(row.unsigned("offset"), row.unsigned("size"), row.choice("protection", Protection), row.data("data"))


def _decode_fixup(row: _Fields) -> Fixup:
    return Fixup(
        offset=row.unsigned("offset"),
        kind=row.choice("kind", FixupKind),
        base=row.choice("base", FixupBase),
        value=row.unsigned("value"),
        addend=row.integer("addend"),
    )


def _decode_function(row: _Fields) -> PatchedFunction:
    return PatchedFunction(
        name=row.text("name"),
        rva=row.unsigned("rva"),
        length=row.unsigned("length"),
        expected=row.data("expected"),
        entry=row.unsigned("entry"),
        redirect=row.choice("redirect", Redirect),
        padding=row.data("padding"),
        overwrite=row.unsigned("overwrite"),
    )


# -- checking ------------------------------------------------------------------------------------------------------------------


def _malformed(what: str) -> HotpatchError:
    return HotpatchError("payload_malformed", f"The payload is not of the documented form: {what}.")


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise _malformed(what)


def _check(payload: Payload) -> None:
    """The rules that hold between values; types and keys are checked while reading."""
    _require(_ID.fullmatch(payload.id) is not None, "id is not of the documented form")
    _require(all(_ID.fullmatch(name) for name in payload.replaces), "replaces holds what is not an id")
    _require(max(payload.sequence, payload.created, payload.expires, payload.target.size) < 1 << 64, "a number is out of range")
    _check_text("title", payload.title, _MAX_TITLE)
    for cve in payload.cves:
        _check_text("cves", cve, _MAX_NAME)
    _check_target(payload.target)
    _check_region(payload)
    _check_fixups(payload)
    _check_unwind(payload)
    _check_functions(payload)


def _check_text(name: str, text: str, longest: int) -> None:
    _require(len(text) <= longest and not _CONTROL.search(text), f"{name} is too long or holds control characters")


def _check_target(target: TargetId) -> None:
    _require(_FILE_NAME.fullmatch(target.name) is not None, "target.name is not a file name")
    _require(len(target.sha256) == 32, "target.sha256 is not 32 bytes")
    _require(max(target.checksum, target.timestamp) < 1 << 32, "target.checksum or target.timestamp is out of range")
    _require(target.image_size < _ADDRESS_LIMIT, "target.image_size is out of range")


def _check_region(payload: Payload) -> None:
    _require(0 < payload.region_size <= MAX_REGION and payload.region_size % PAGE == 0, "region.size is out of range")
    end = 0
    for section in payload.sections:
        _require(section.offset % PAGE == 0 and section.offset >= end and section.size > 0, "sections are not sorted, aligned, apart")
        _require(len(section.data) <= section.size, "a section's data is longer than the section")
        end = section.offset + section.size
    _require(end <= payload.region_size, "a section reaches beyond the region")


def section_at(payload: Payload, begin: int, end: int) -> RegionSection | None:
    """The section of the region that holds all of ``[begin, end)``."""
    found = (section for section in payload.sections if section.offset <= begin < end <= section.offset + section.size)
    return next(found, None)


def _is_executable(payload: Payload, begin: int, end: int) -> bool:
    section = section_at(payload, begin, end)
    return section is not None and section.protection is Protection.EXECUTE


def _check_fixups(payload: Payload) -> None:
    previous = 0
    for fixup in payload.fixups:
        end = fixup.offset + fixup.size
        section = section_at(payload, fixup.offset, end)
        limit = payload.target.image_size if fixup.base is FixupBase.TARGET else payload.region_size
        _require(fixup.offset >= previous, "fixups are not sorted and apart")
        _require(section is not None and end <= section.offset + len(section.data), "a fixup is outside of any section's data")
        _require(fixup.value < limit, "a fixup's value is outside of its base")
        _require(-(1 << 31) <= fixup.addend < 1 << 31, "a fixup's addend is out of range")
        previous = end


def _check_unwind(payload: Payload) -> None:
    previous = 0
    for entry in payload.unwind:
        _require(
            entry.begin >= previous and _is_executable(payload, entry.begin, entry.end), "an unwind entry is not sorted or not in code"
        )
        _require(
            entry.info % 4 == 0 and section_at(payload, entry.info, entry.info + 4) is not None, "unwind data is outside of any section"
        )
        previous = entry.end


def _check_functions(payload: Payload) -> None:
    _require(bool(payload.functions), "no function is replaced")
    previous = 0
    for function in payload.functions:
        _require(bool(function.name), "a function has no name")
        _check_text("a function's name", function.name, _MAX_NAME)
        _require(function.rva - len(function.padding) >= previous, "functions are not sorted and apart")
        previous = function.rva + function.length
        _require(previous <= payload.target.image_size, "a function is outside of the module")
        _require(0 < function.length == len(function.expected), "a function's expected bytes are not its length")
        _require(
            function.entry % ENTRY_ALIGNMENT == 0 and _is_executable(payload, function.entry, function.entry + 1),
            "a new function's entry is not aligned and executable",
        )
        _check_redirect(function)


def _check_redirect(function: PatchedFunction) -> None:
    if function.redirect is Redirect.SHORT:
        _require(function.rva % 2 == 0 and function.overwrite == 2, "a short redirection is not one aligned exchange of 2 bytes")
        _require(function.padding in PADDINGS, "a short redirection has no padding of 5 bytes")
    else:
        _require(JUMP_SIZE <= function.overwrite <= MAX_OVERWRITE, "overwrite is out of range")
        _require(not function.padding, "a near redirection has padding")
    _require(function.overwrite <= function.length, "a function is shorter than what is overwritten")
