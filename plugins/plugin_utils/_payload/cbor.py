# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""How is a payload's data written as CBOR (RFC 8949), in the one encoding that counts as valid?

Only core deterministic encoding (section 4.2.1) is written and read: shortest integers, definite lengths, map keys sorted by
their encoded bytes and never twice, no floats, no simple values, no tags but those that are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

Value = int | bytes | str | Sequence["Value"] | Mapping[str, "Value"] | Mapping[int, "Value"]

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG = range(7)
_MAX_DEPTH = 16


def encode(value: Value) -> bytes:
    """The deterministic encoding of one value."""
    if isinstance(value, int):
        return _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
    if isinstance(value, bytes):
        return _head(_BYTES, len(value)) + value
    if isinstance(value, str):
        data = value.encode()
        return _head(_TEXT, len(data)) + data
    if isinstance(value, Mapping):
        pairs = sorted((encode(key), encode(item)) for key, item in value.items())
        return _head(_MAP, len(pairs)) + b"".join(key + item for key, item in pairs)
    return _head(_ARRAY, len(value)) + b"".join(encode(item) for item in value)


def encode_tag(number: int) -> bytes:
    """The head of a tagged value; the value's own encoding follows it."""
    return _head(_TAG, number)


def _head(major: int, argument: int) -> bytes:
    if argument < 24:
        return bytes([major << 5 | argument])
    for width, code in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if argument < 1 << (8 * width):
            return bytes([major << 5 | code]) + argument.to_bytes(width, "big")
    raise ValueError(f"{argument} does not fit into 64 bits")


class Reader:
    """Reads values one after the other.

    :raises HotpatchError: ``payload_truncated`` where the data ends in the middle, ``payload_malformed`` for all else.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def value(self, depth: int = 0) -> Value:
        """The next value, whatever it is. Map keys are text."""
        if depth > _MAX_DEPTH:
            raise self._malformed("nested too deeply")
        major, argument = self._read_head()
        if major == _UNSIGNED:
            return argument
        if major == _NEGATIVE:
            return -1 - argument
        if major == _BYTES:
            return self._take(argument)
        if major == _TEXT:
            return self._text(argument)
        if major == _ARRAY:
            return [self.value(depth + 1) for _ in range(self._count(argument, 1))]
        if major == _MAP:
            return self._map(self._count(argument, 2), depth)
        raise self._malformed("a tag, float or simple value is not allowed here")

    def tag(self, number: int) -> None:
        """The next item must be this tag."""
        if self._read_head() != (_TAG, number):
            raise self._malformed(f"tag {number} expected")

    def array(self) -> int:
        """How many items the array has that begins here."""
        return self._count(self._expect(_ARRAY), 1)

    def map(self) -> int:
        """How many pairs the map has that begins here."""
        return self._count(self._expect(_MAP), 2)

    def byte_string(self) -> bytes:
        """The byte string that begins here."""
        return self._take(self._expect(_BYTES))

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._data):
            raise self._malformed("bytes follow the end")

    def _map(self, count: int, depth: int) -> dict[str, Value]:
        pairs: dict[str, Value] = {}
        previous = b""
        for _ in range(count):
            begin = self._at
            key = self._text(self._expect(_TEXT))
            encoded = self._data[begin : self._at]
            if encoded <= previous:
                raise self._malformed(f"the key '{key}' is out of order or there twice")
            previous = encoded
            pairs[key] = self.value(depth + 1)
        return pairs

    def _expect(self, major: int) -> int:
        found, argument = self._read_head()
        if found != major:
            raise self._malformed("a value of another type is expected")
        return argument

    def _read_head(self) -> tuple[int, int]:
        first = self._take(1)[0]
        major, code = first >> 5, first & 31
        if code < 24:
            return major, code
        if code > 27 or major == 7:
            raise self._malformed("an indefinite length, float or simple value")
        width = 1 << (code - 24)
        argument = int.from_bytes(self._take(width), "big")
        if argument < 24 or (width > 1 and argument < 1 << (4 * width)):
            raise self._malformed("a number is not in its shortest form")
        return major, argument

    def _take(self, size: int) -> bytes:
        if size > len(self._data) - self._at:
            raise HotpatchError("payload_truncated", f"The payload ends at byte {len(self._data)}, in the middle of a value.")
        self._at += size
        return self._data[self._at - size : self._at]

    def _count(self, count: int, least: int) -> int:
        # Every item takes at least one byte: a count beyond that is refused before anything is made for it.
        if count * least > len(self._data) - self._at:
            raise HotpatchError("payload_truncated", f"The payload ends at byte {len(self._data)}, before all of its items.")
        return count

    def _text(self, size: int) -> str:
        try:
            return self._take(size).decode("utf-8", "strict")
        except UnicodeDecodeError as error:
            raise self._malformed("a text is not UTF-8") from error

    def _malformed(self, what: str) -> HotpatchError:
        return HotpatchError("payload_malformed", f"The payload is not of the documented form: {what} (byte {self._at}).")
