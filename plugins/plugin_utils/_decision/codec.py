# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""How does JSON become frozen dataclasses, strictly, and back?

One decoder for the catalog, the policy, the rings and the assessment: it follows the type hints and refuses what does not fit
(unknown keys, missing keys, wrong types), naming the place, as :class:`HotpatchError` with the caller's code.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import re
import types
import typing as t
from collections.abc import Mapping

from .._errors import HotpatchError

T = t.TypeVar("T")

OMIT_DEFAULT: t.Final = {"omit_default": True}
"""Metadata of a field that is left out of the JSON while it has its default."""


def json_name(name: str) -> dict[str, str]:
    """Metadata of a field whose JSON name is no Python name (``from``)."""
    return {"json_name": name}


@dataclasses.dataclass(frozen=True)
class Pattern:
    """An annotation: the string must match the regular expression as a whole."""

    regex: str


Kb = t.Annotated[str, Pattern(r"KB[0-9]{5,8}")]
Sha256 = t.Annotated[str, Pattern(r"[0-9a-f]{64}")]
Cve = t.Annotated[str, Pattern(r"CVE-[0-9]{4}-[0-9]{4,}")]
Identifier = t.Annotated[str, Pattern(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")]


class Scalar(t.Protocol):
    """A type that is a string in JSON: ``parse`` raises ValueError, ``str()`` is the inverse."""

    @classmethod
    def parse(cls, text: str) -> t.Self: ...


def encode(value: object) -> t.Any:
    """The JSON form of a dataclass, mapping, sequence, enum, date or scalar."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and not hasattr(value, "parse"):
        return {_name(f): encode(getattr(value, f.name)) for f in dataclasses.fields(value) if not _omitted(value, f)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(encode(item) for item in value)
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, datetime.date):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def _name(field: dataclasses.Field[t.Any]) -> str:
    return str(field.metadata.get("json_name", field.name))


def _omitted(owner: object, field: dataclasses.Field[t.Any]) -> bool:
    return bool(field.metadata.get("omit_default")) and getattr(owner, field.name) == field.default


def decode(kind: type[T], value: object, *, where: str, code: str) -> T:
    """``value`` as ``kind``.

    :param where: names the document in messages; the path inside it is appended.
    :param code: the code of the HotpatchError raised for anything that does not fit.
    """
    return t.cast(T, _Decoder(code).any(kind, value, where))


class _Decoder:
    def __init__(self, code: str) -> None:
        self._code = code
        # Resolving the hints of a class costs more than decoding one of its instances, of which a catalog has thousands.
        self._hints: dict[str, dict[str, t.Any]] = {}

    def _refuse(self, where: str, what: str) -> HotpatchError:
        return HotpatchError(self._code, message=what, where=where)

    def _hints_of(self, kind: type[object]) -> dict[str, t.Any]:
        if kind.__qualname__ not in self._hints:
            self._hints[kind.__qualname__] = t.get_type_hints(kind, include_extras=True)
        return self._hints[kind.__qualname__]

    def any(self, kind: t.Any, value: object, where: str) -> object:
        origin = t.get_origin(kind)
        if origin is t.Annotated:
            return self._annotated(kind, value, where)
        if origin in (t.Union, types.UnionType):
            return self._optional(kind, value, where)
        if origin is tuple:
            return self._sequence(t.get_args(kind)[0], value, where)
        if origin in (dict, Mapping):
            return self._mapping(kind, value, where)
        if hasattr(kind, "parse"):
            return self._scalar(kind, value, where)
        if dataclasses.is_dataclass(kind):
            return self._dataclass(t.cast("type[object]", kind), value, where)
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return self._enum(kind, value, where)
        if kind is datetime.date:
            return self._date(value, where)
        return self._plain(kind, value, where)

    def _annotated(self, kind: t.Any, value: object, where: str) -> object:
        base, *notes = t.get_args(kind)
        result = self.any(base, value, where)
        for note in notes:
            if isinstance(note, Pattern) and not re.fullmatch(note.regex, str(result)):
                raise self._refuse(where, f"{result!r} does not have the form {note.regex}.")
        return result

    def _optional(self, kind: t.Any, value: object, where: str) -> object:
        choices = [choice for choice in t.get_args(kind) if choice is not types.NoneType]
        if value is None and len(choices) < len(t.get_args(kind)):
            return None
        return self.any(choices[0], value, where)

    def _sequence(self, kind: t.Any, value: object, where: str) -> tuple[object, ...]:
        if not isinstance(value, list | tuple):
            raise self._refuse(where, f"A list is needed, not {_kind_of(value)}.")
        return tuple(self.any(kind, item, f"{where}[{index}]") for index, item in enumerate(value))

    def _mapping(self, kind: t.Any, value: object, where: str) -> dict[object, object]:
        if not isinstance(value, Mapping):
            raise self._refuse(where, f"A mapping is needed, not {_kind_of(value)}.")
        key_kind, item_kind = t.get_args(kind)
        return {self.any(key_kind, key, f"{where}.{key}"): self.any(item_kind, item, f"{where}.{key}") for key, item in value.items()}

    def _scalar(self, kind: type[Scalar], value: object, where: str) -> Scalar:
        if isinstance(value, kind):
            return value
        if not isinstance(value, str):
            raise self._refuse(where, f"A string is needed, not {_kind_of(value)}.")
        try:
            return kind.parse(value)
        except ValueError as problem:
            raise self._refuse(where, f"{problem}.") from problem

    def _dataclass(self, kind: type[object], value: object, where: str) -> object:
        if not isinstance(value, Mapping):
            raise self._refuse(where, f"A mapping is needed, not {_kind_of(value)}.")
        fields = {_name(field): field for field in dataclasses.fields(t.cast(t.Any, kind)) if field.init}
        if unknown := sorted(str(key) for key in value if key not in fields):
            raise self._refuse(where, f"Unknown key {unknown[0]!r}; known are {', '.join(sorted(fields))}.")
        hints = self._hints_of(kind)
        arguments: dict[str, object] = {}
        for name, field in fields.items():
            if name in value:
                arguments[field.name] = self.any(hints[field.name], value[name], f"{where}.{name}")
            elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                raise self._refuse(where, f"The key {name!r} is missing.")
        try:
            return kind(**arguments)
        except ValueError as problem:
            raise self._refuse(where, f"{problem}.") from problem

    def _enum(self, kind: type[enum.Enum], value: object, where: str) -> enum.Enum:
        try:
            return kind(value)
        except ValueError as problem:
            choices = ", ".join(str(member.value) for member in kind)
            raise self._refuse(where, f"{value!r} is not one of {choices}.") from problem

    def _date(self, value: object, where: str) -> datetime.date:
        # YAML gives dates, JSON gives strings.
        if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
            return value
        try:
            return datetime.date.fromisoformat(value if isinstance(value, str) else "")
        except ValueError as problem:
            raise self._refuse(where, f"{value!r} is not a date like 2026-05-12.") from problem

    def _plain(self, kind: t.Any, value: object, where: str) -> object:
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        # bool is a subclass of int, and a strict document does not mix them.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._refuse(where, f"A value of type {kind.__name__} is needed, not {_kind_of(value)}.")
        return value


def _kind_of(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
