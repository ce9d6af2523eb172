# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How does an object file become a payload for the engine's tests?

A linker of 200 lines: it lays the sections of a COFF object file out in a region, resolves what lies in the region, and makes fixups
of what lies in the target module (exports and the import address table). It shares nothing with the collection's builder, so that a
mistake there is not repeated here.
"""

from __future__ import annotations

import hashlib
import struct
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import iced_x86
import lief

PAGE: t.Final = 4096
ADDR64, ADDR32NB, REL32 = 1, 3, 4
NOPS: t.Final = (b"\x90" * 5, b"\xcc" * 5, b"\x0f\x1f\x44\x00\x00")


@dataclass
class ObjectSection:
    """One section of an object file and where the region has it."""

    name: str
    data: bytearray
    relocations: list[tuple[int, int, int]]
    executable: bool
    writable: bool
    offset: int = -1


@dataclass
class ObjectSymbol:
    """A symbol of an object file; section 0 is undefined."""

    name: str
    value: int
    section: int
    external: bool


@dataclass
class ObjectFile:
    """A COFF object file for x64, as far as the tests' compilers use the format."""

    sections: list[ObjectSection] = field(default_factory=list)
    symbols: dict[int, ObjectSymbol] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> ObjectFile:
        data = path.read_bytes()
        _machine, section_count, _time, symbols_at, symbol_count, optional, _flags = struct.unpack_from("<HHIIIHH", data)
        strings = data[symbols_at + 18 * symbol_count :]

        def text(raw: bytes) -> str:
            if raw[:4] == b"\0\0\0\0":
                start = struct.unpack_from("<I", raw, 4)[0]
                return strings[start : strings.index(b"\0", start)].decode()
            name = raw.rstrip(b"\0").decode()
            if name.startswith("/"):
                start = int(name[1:])
                return strings[start : strings.index(b"\0", start)].decode()
            return name

        made = cls()
        for index in range(section_count):
            header = struct.unpack_from("<8sIIIIIIHHI", data, 20 + optional + 40 * index)
            name, size, raw_at, relocations_at, relocation_count, flags = (
                text(header[0]),
                header[3],
                header[4],
                header[5],
                header[7],
                header[9],
            )
            content = bytearray(data[raw_at : raw_at + size] if raw_at else bytes(size))
            relocations = [struct.unpack_from("<IIH", data, relocations_at + 10 * number) for number in range(relocation_count)]
            made.sections.append(
                ObjectSection(
                    name, content, t.cast(list[tuple[int, int, int]], relocations), bool(flags & 0x20000000), bool(flags & 0x80000000)
                )
            )
        number = 0
        while number < symbol_count:
            raw, value, section, _type, storage, extra = struct.unpack_from("<8sIhHBB", data, symbols_at + 18 * number)
            made.symbols[number] = ObjectSymbol(text(raw), value, section, storage == 2)
            number += 1 + extra
        return made


class TargetModule:
    """The module that is patched: its identity, its code, and what can be referred to in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.read_bytes()
        binary = lief.PE.parse(str(path))
        assert isinstance(binary, lief.PE.Binary)
        self.binary = binary
        exports = binary.get_export()
        assert exports is not None
        self.addresses = {str(entry.name): entry.address for entry in exports.entries}
        for imported in binary.imports:
            for entry in imported.entries:
                self.addresses["__imp_" + str(entry.name)] = entry.iat_address
        self.functions = {entry.rva_start: entry.rva_end for entry in binary.exceptions if isinstance(entry, lief.PE.RuntimeFunctionX64)}

    def bytes_at(self, rva: int, length: int) -> bytes:
        """The file's bytes at an address."""
        start = self.binary.rva_to_offset(rva)
        return self.file[start : start + length]

    def length_of(self, rva: int) -> int:
        """From unwind data where there is some, else (a leaf in assembler) up to its first return."""
        if rva in self.functions:
            return self.functions[rva] - rva
        for instruction in iced_x86.Decoder(64, self.bytes_at(rva, 64), ip=rva):
            if instruction.mnemonic == iced_x86.Mnemonic.RET:
                return int(instruction.next_ip) - rva
        raise AssertionError(f"no end of the function at {rva:#x}")

    def whole_instructions(self, rva: int, least: int) -> int:
        """The length of the whole instructions that the first bytes touch."""
        for instruction in iced_x86.Decoder(64, self.bytes_at(rva, 32), ip=rva):
            if instruction.next_ip - rva >= least:
                return int(instruction.next_ip) - rva
        raise AssertionError("no instructions")

    def identity(self) -> dict[str, t.Any]:
        """The payload's `target`."""
        header = self.binary.optional_header
        return {
            "name": self.path.name,
            "sha256": hashlib.sha256(self.file).hexdigest(),
            "size": len(self.file),
            "checksum": header.checksum,
            "timestamp": self.binary.header.time_date_stamps,
            "image_size": header.sizeof_image,
        }


class Linker:
    """Lays one object file out and collects sections, fixups and unwind entries of the payload."""

    def __init__(self, module: TargetModule, source: ObjectFile) -> None:
        self.module = module
        self.source = source
        self.fixups: list[dict[str, t.Any]] = []
        self.unwind: list[dict[str, int]] = []
        self.thunks: dict[str, int] = {}
        self.code = bytearray()
        self.constants = bytearray()
        self.variables = bytearray()

    def link(self) -> dict[str, t.Any]:
        """Everything of the payload but its identity and its functions."""
        placed = [
            section for section in self.source.sections if section.data and not section.name.startswith((".pdata", ".drectve", ".debug"))
        ]
        placed = [section for section in placed if not section.name.startswith(".rdata$zzz")]
        for section in placed:
            if section.executable:
                section.offset = self._append(self.code, section.data)
        self._make_thunks(placed)
        constants_at = _pages(len(self.code))
        for section in placed:
            if not section.executable and not section.writable:
                section.offset = constants_at + self._append(self.constants, section.data)
        variables_at = constants_at + _pages(len(self.constants))
        for section in placed:
            if section.writable and not section.executable:
                section.offset = variables_at + self._append(self.variables, section.data)
        image = {0: self.code, constants_at: self.constants, variables_at: self.variables}
        for section in placed:
            for place, symbol, kind in section.relocations:
                self._relocate(image, section.offset + place, self.source.symbols[symbol], kind)
        for section in self.source.sections:
            if section.name.startswith(".pdata"):
                self._add_unwind(section)
        protections = {0: "rx", constants_at: "r", variables_at: "rw"}
        sections = [
            {"offset": offset, "size": len(data), "protection": protections[offset], "data": bytes(data).hex()}
            for offset, data in image.items()
            if data
        ]
        return {
            "region_size": variables_at + _pages(len(self.variables)),
            "sections": sections,
            "fixups": sorted(self.fixups, key=lambda fixup: fixup["offset"]),
            "unwind": sorted(self.unwind, key=lambda entry: entry["begin"]),
        }

    def offset_of(self, name: str) -> int:
        """Where a function of the object file lies in the region."""
        for symbol in self.source.symbols.values():
            if symbol.name == name and symbol.section > 0 and symbol.external:
                return self.source.sections[symbol.section - 1].offset + symbol.value
        raise AssertionError(f"the object file has no {name}")

    @staticmethod
    def _append(part: bytearray, data: bytes | bytearray) -> int:
        part.extend(bytes(-len(part) % 16))
        start = len(part)
        part.extend(data)
        return start

    def _make_thunks(self, sections: list[ObjectSection]) -> None:
        """Unwind data can only name a handler behind the region's start: one in the module is reached by a jump."""
        for section in sections:
            for _place, number, kind in section.relocations:
                symbol = self.source.symbols[number]
                if kind == ADDR32NB and symbol.section == 0 and symbol.name not in self.thunks:
                    start = self._append(self.code, b"\xe9\0\0\0\0")
                    self.thunks[symbol.name] = start
                    self._add_fixup(start + 1, "rel32", "target", self.module.addresses[symbol.name], 0)

    def _resolve(self, symbol: ObjectSymbol) -> tuple[str, int]:
        if symbol.section > 0:
            return "region", self.source.sections[symbol.section - 1].offset + symbol.value
        return "target", self.module.addresses[symbol.name]

    def _add_fixup(self, offset: int, kind: str, base: str, value: int, addend: int) -> None:
        self.fixups.append({"offset": offset, "kind": kind, "base": base, "value": value, "addend": addend})

    def _relocate(self, image: dict[int, bytearray], offset: int, symbol: ObjectSymbol, kind: int) -> None:
        start = max(begin for begin in image if begin <= offset and image[begin])
        data, place = image[start], offset - start
        if kind == ADDR64:
            base, value = self._resolve(symbol)
            self._add_fixup(offset, "abs64", base, value, struct.unpack_from("<q", data, place)[0])
        elif kind == ADDR32NB:
            value = self.thunks[symbol.name] if symbol.section == 0 else self._resolve(symbol)[1]
            struct.pack_into("<I", data, place, struct.unpack_from("<I", data, place)[0] + value)
        elif REL32 <= kind <= REL32 + 5:
            base, value = self._resolve(symbol)
            addend = struct.unpack_from("<i", data, place)[0] - (kind - REL32)
            if base == "region":
                struct.pack_into("<i", data, place, value + addend - (offset + 4))
            else:
                self._add_fixup(offset, "rel32", base, value, addend)
        else:
            raise AssertionError(f"relocation {kind} is not used by these object files")

    def _add_unwind(self, section: ObjectSection) -> None:
        values = dict.fromkeys(range(0, len(section.data), 4), 0)
        for place, number, _kind in section.relocations:
            base, value = self._resolve(self.source.symbols[number])
            assert base == "region"
            values[place] = value + struct.unpack_from("<I", section.data, place)[0]
        for start in range(0, len(section.data), 12):
            self.unwind.append({"begin": values[start], "end": values[start + 4], "info": values[start + 8]})


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def make_payload(
    module: TargetModule,
    fix: Path,
    functions: dict[str, str],
    *,
    quiescence: str = "entry",
    name: str = "fix",
    sequence: int = 1,
    replaces: tuple[str, ...] = (),
) -> dict[str, t.Any]:
    """The payload that gives each named function the code of the object file."""
    linker = Linker(module, ObjectFile.read(fix))
    payload = linker.link()
    entries = []
    for function, redirect in functions.items():
        rva = module.addresses[function]
        length = module.length_of(rva)
        padding = module.bytes_at(rva - 5, 5) if redirect == "short" else b""
        assert redirect == "near" or padding in NOPS, f"{function} has no padding: {padding.hex()}"
        entries.append(
            {
                "name": function,
                "rva": rva,
                "length": length,
                "expected": module.bytes_at(rva, length).hex(),
                "entry": linker.offset_of(function),
                "redirect": redirect,
                "padding": padding.hex(),
                "overwrite": 2 if redirect == "short" else module.whole_instructions(rva, 5),
            }
        )
    payload |= {
        "id": name,
        "sequence": sequence,
        "replaces": list(replaces),
        "quiescence": quiescence,
        "target": module.identity(),
        "functions": sorted(entries, key=lambda entry: t.cast(int, entry["rva"])),
    }
    payload["sha256"] = hashlib.sha256(repr(sorted(payload.items(), key=lambda item: item[0])).encode()).hexdigest()
    return payload
