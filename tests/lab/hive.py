# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How are values of a registry changed while no host runs, in the text files Wine keeps them in?

Windows services its component store and applies pending levels before it starts services. The lab does the same between two
boots: the registry is a file then, and nothing of the host can be in the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_SECTION = re.compile(r"^\[(?P<key>.*)\] ?(?P<time>\d*)\s*$")
_VALUE = re.compile(r'^(?:"(?P<name>(?:[^"\\]|\\.)*)"|@)=(?P<data>.*)$')
_HIVES = {"HKLM": "system.reg", "HKCU": "user.reg"}


def _escape(text: str) -> str:
    return "".join(c if " " <= c <= "~" and c not in '\\"' else f"\\{c}" if c in '\\"' else f"\\x{ord(c):04x}" for c in text)


def _unescape(text: str) -> str:
    simple = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}

    def one(match: re.Match[str]) -> str:
        code = match.group(1)
        return chr(int(code[1:], 16)) if code.startswith("x") and len(code) > 1 else simple.get(code, code)

    return re.sub(r"\\(x[0-9a-fA-F]{1,4}|.)", one, text)


class Hive:
    """One registry file. Keys and names are compared without regard to case, as Windows does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._head: list[str] = []
        self._sections: dict[str, list[str]] = {}
        self._titles: dict[str, str] = {}
        self._read(path.read_text(encoding="utf-8", errors="surrogateescape"))

    def _read(self, text: str) -> None:
        current = self._head
        for line in text.rstrip("\n").split("\n"):
            match = _SECTION.match(line) if line.startswith("[") else None
            if match:
                folded = _unescape(match.group("key")).lower()
                self._titles.setdefault(folded, line)
                current = self._sections.setdefault(folded, [])
            else:
                current.append(line)

    def save(self) -> None:
        """Writes the file as a whole, or leaves the old one."""
        lines = list(self._head)
        for folded, body in self._sections.items():
            lines += [self._titles[folded], *body]
        temporary = self._path.with_suffix(".new")
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
        temporary.replace(self._path)

    def has_key(self, key: str) -> bool:
        """Whether the key exists, itself or by what is below it."""
        folded = key.lower()
        return folded in self._sections or any(name.startswith(folded + "\\") for name in self._sections)

    def values(self, key: str) -> dict[str, int | str]:
        """The REG_DWORD and REG_SZ values of a key; empty when it does not exist."""
        found: dict[str, int | str] = {}
        for name, data in self._values(key):
            if data.startswith("dword:"):
                found[name] = int(data[6:], 16)
            elif data.startswith('"'):
                found[name] = _unescape(data[1:-1])
        return found

    def _values(self, key: str) -> Iterator[tuple[str, str]]:
        for line in self._sections.get(key.lower(), []):
            match = _VALUE.match(line)
            if match:
                yield _unescape(match.group("name") or ""), match.group("data")

    def get(self, key: str, name: str) -> int | str | None:
        """One value, None when it is absent."""
        return next((data for found, data in self.values(key).items() if found.lower() == name.lower()), None)

    def set(self, key: str, name: str, value: int | str) -> None:
        """Sets a REG_DWORD (int) or a REG_SZ (str); makes the key when needed."""
        self.delete(key, name)
        data = f"dword:{value & 0xFFFFFFFF:08x}" if isinstance(value, int) else f'"{_escape(value)}"'
        self._make(key).insert(0, (f'"{_escape(name)}"=' if name else "@=") + data)

    def _make(self, key: str) -> list[str]:
        folded = key.lower()
        self._titles.setdefault(folded, f"[{_escape(key)}]")
        return self._sections.setdefault(folded, [""])

    def create_key(self, key: str) -> None:
        """Makes an empty key; an existing one stays as it is."""
        self._make(key)

    def delete(self, key: str, name: str) -> None:
        """Removes one value; an absent one is no error. Continued lines (hex data) go with their value."""
        kept: list[str] = []
        dropping = False
        for line in self._sections.get(key.lower(), []):
            match = _VALUE.match(line)
            if dropping and line.startswith("  "):
                continue
            dropping = match is not None and _unescape(match.group("name") or "").lower() == name.lower()
            if not dropping:
                kept.append(line)
        if key.lower() in self._sections:
            self._sections[key.lower()] = kept

    def delete_key(self, key: str) -> None:
        """Removes a key and everything below it."""
        folded = key.lower()
        for name in [name for name in self._sections if name == folded or name.startswith(folded + "\\")]:
            del self._sections[name], self._titles[name]

    def subkeys(self, key: str) -> list[str]:
        """Names of the keys directly below one, as they were written."""
        depth = key.count("\\") + 1
        prefix = key.lower() + "\\"
        names: dict[str, str] = {}
        for folded, title in self._titles.items():
            if folded.startswith(prefix):
                match = _SECTION.match(title)
                spelled = _unescape(match.group("key")) if match else folded
                names.setdefault(folded.split("\\")[depth], spelled.split("\\")[depth])
        return list(names.values())


def open_hive(prefix: Path, key: str) -> tuple[Hive, str]:
    """The hive that holds a key such as ``HKLM\\SOFTWARE\\x``, and the key's path inside it."""
    root, _, rest = key.partition("\\")
    if root not in _HIVES or not rest:
        raise ValueError(f"{key!r} does not start with HKLM\\ or HKCU\\")
    return Hive(prefix / _HIVES[root]), rest
