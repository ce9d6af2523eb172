# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""What does a 64-bit Windows module look like once it is loaded: bytes, sections, names, unwind entries?

The headers are read by lief; everything that follows works on the plain data of :class:`Image`, at RVAs.
"""

from __future__ import annotations

import bisect
import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import lief

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

MACHINE_AMD64 = 0x8664
_MAX_IMAGE = 512 * 1024 * 1024
_FILE_DLL = 0x2000
_SCN_MEM_EXECUTE = 0x2000_0000
_SCN_MEM_WRITE = 0x8000_0000
_SCN_MEM_DISCARDABLE = 0x0200_0000

UNW_FLAG_EHANDLER = 1
UNW_FLAG_UHANDLER = 2
UNW_FLAG_CHAININFO = 4


@dataclass(frozen=True)
class Section:
    """One section of the loaded module; ``size`` is its size in memory, of which ``initialised`` bytes come from the file."""

    name: str
    rva: int
    size: int
    initialised: int
    executable: bool
    writable: bool

    @property
    def end(self) -> int:
        """The first RVA after the section."""
        return self.rva + self.size


@dataclass(frozen=True)
class RuntimeFunction:
    """One row of the exception directory (``.pdata``)."""

    begin: int
    end: int
    unwind: int


@dataclass(frozen=True)
class TlsDirectory:
    """The thread-local storage of a module: its template and what is called for each thread."""

    template: bytes
    zero_fill: int
    callbacks: tuple[int, ...]
    callbacks_array: int
    index: int


@dataclass(frozen=True)
class Image:
    """A module as its loader maps it, before relocation and binding."""

    name: str
    is_dll: bool
    data: bytes
    mapped: bytes
    image_base: int
    image_size: int
    checksum: int
    timestamp: int
    entry_point: int
    sections: tuple[Section, ...]
    exports: Mapping[str, int]
    forwards: frozenset[str]
    imports: Mapping[int, str]
    """IAT slot's RVA → ``dll!name``; slots the loader fills from the load configuration have names of their own."""
    symbols: Mapping[int, str]
    """Function symbols of a build that is not stripped."""
    runtime_functions: tuple[RuntimeFunction, ...]
    relocations: tuple[int, ...]
    """Sorted RVAs of the 8-byte pointers that the loader relocates."""
    tls: TlsDirectory | None

    @property
    def sha256(self) -> bytes:
        """SHA-256 of the file."""
        return hashlib.sha256(self.data).digest()

    def section_at(self, rva: int) -> Section | None:
        """The section that holds this RVA."""
        return next((section for section in self.sections if section.rva <= rva < section.end), None)

    def edge(self, rva: int) -> str:
        """What a place outside of all sections is: the module's start, or the end of a section; empty for any other."""
        if rva == 0:
            return "module"
        before = self.section_at(rva - 1)
        return f"end of {before.name}" if before and self.section_at(rva) is None else ""

    def section_named(self, name: str) -> Section | None:
        """The first section of this name."""
        return next((section for section in self.sections if section.name == name), None)

    def is_code(self, rva: int) -> bool:
        """Whether the RVA lies in an executable section."""
        section = self.section_at(rva)
        return section is not None and section.executable

    def read(self, rva: int, size: int) -> bytes:
        """Bytes of the loaded module; shorter at its end."""
        return self.mapped[max(rva, 0) : max(rva, 0) + size]

    def u32(self, rva: int) -> int:
        """A little-endian 32-bit number; 0 outside the module."""
        data = self.read(rva, 4)
        return int.from_bytes(data, "little") if len(data) == 4 else 0

    def pointer(self, rva: int) -> int | None:
        """The RVA that a relocated 8-byte pointer at ``rva`` points to; nothing when the loader does not relocate there."""
        at = bisect.bisect_left(self.relocations, rva)
        if at == len(self.relocations) or self.relocations[at] != rva:
            return None
        return int.from_bytes(self.read(rva, 8), "little") - self.image_base

    def relocations_in(self, begin: int, end: int) -> tuple[int, ...]:
        """The relocated pointers that start in ``[begin, end)``."""
        return self.relocations[bisect.bisect_left(self.relocations, begin) : bisect.bisect_left(self.relocations, end)]


def parse(data: bytes, where: str = "") -> Image:
    """Reads a DLL or EXE.

    :param data: the file.
    :param where: its name, for error messages.
    :raises HotpatchError: ``build_not_pe``.
    """
    lief.logging.disable()
    binary = lief.PE.parse(list(data)) if data[:2] == b"MZ" else None
    if binary is None:
        raise HotpatchError("build_not_pe", "The file is not a Windows module.", where)
    if int(binary.header.machine) != MACHINE_AMD64 or binary.optional_header.magic != lief.PE.PE_TYPE.PE32_PLUS:
        raise HotpatchError("build_not_pe", "The file is a Windows module, but not one for x64.", where)
    header = binary.optional_header
    if header.sizeof_image > _MAX_IMAGE:
        raise HotpatchError("build_not_pe", f"The module claims to be {header.sizeof_image} bytes in memory.", where)
    sections = list(binary.sections)
    if len(sections) != binary.header.numberof_sections or any(
        row.pointerto_raw_data + row.sizeof_raw_data > len(data) for row in sections
    ):
        raise HotpatchError("build_not_pe", "The file ends before its sections do.", where)
    mapped = _map(data, binary)
    exports, forwards = _exports(binary)
    return Image(
        name=_export_name(binary),
        is_dll=bool(int(binary.header.characteristics) & _FILE_DLL),
        data=data,
        mapped=mapped,
        image_base=header.imagebase,
        image_size=header.sizeof_image,
        checksum=header.checksum,
        timestamp=binary.header.time_date_stamps,
        entry_point=header.addressof_entrypoint,
        sections=_sections(binary),
        exports=exports,
        forwards=forwards,
        imports={**_imports(binary), **_guard_slots(binary)},
        symbols=_symbols(binary),
        runtime_functions=_runtime_functions(mapped, binary),
        relocations=_relocations(binary),
        tls=_tls(mapped, binary),
    )


def _map(data: bytes, binary: lief.PE.Binary) -> bytes:
    mapped = bytearray(binary.optional_header.sizeof_image)
    headers = min(binary.optional_header.sizeof_headers, len(mapped))
    mapped[:headers] = data[:headers].ljust(headers, b"\0")
    for section in binary.sections:
        size = min(section.sizeof_raw_data, section.virtual_size or section.sizeof_raw_data)
        raw = data[section.pointerto_raw_data : section.pointerto_raw_data + size]
        raw = raw[: max(0, len(mapped) - section.virtual_address)]
        mapped[section.virtual_address : section.virtual_address + len(raw)] = raw
    return bytes(mapped)


def _sections(binary: lief.PE.Binary) -> tuple[Section, ...]:
    rows = []
    for section in binary.sections:
        flags = int(section.characteristics)
        size = section.virtual_size or section.sizeof_raw_data
        if flags & _SCN_MEM_DISCARDABLE:
            continue
        rows.append(
            Section(
                name=str(section.name),
                rva=section.virtual_address,
                size=size,
                initialised=min(section.sizeof_raw_data, size),
                executable=bool(flags & _SCN_MEM_EXECUTE),
                writable=bool(flags & _SCN_MEM_WRITE),
            )
        )
    return tuple(sorted(rows, key=lambda row: row.rva))


def _export_name(binary: lief.PE.Binary) -> str:
    table = binary.get_export()
    return str(table.name) if table else ""


def _exports(binary: lief.PE.Binary) -> tuple[dict[str, int], frozenset[str]]:
    names: dict[str, int] = {}
    forwards = set()
    table = binary.get_export()
    if table:
        for entry in table.entries:
            name = str(entry.name) or f"#{entry.ordinal}"
            if entry.is_forwarded:
                forwards.add(f"{name}={entry.forward_information}")
            elif entry.address:
                names[name] = entry.address
    return names, frozenset(forwards)


def _imports(binary: lief.PE.Binary) -> dict[int, str]:
    slots: dict[int, str] = {}
    for library in [*binary.imports, *binary.delay_imports]:
        for entry in library.entries:
            name = f"#{entry.ordinal}" if entry.is_ordinal else str(entry.name)
            rva = entry.iat_address if isinstance(entry, lief.PE.ImportEntry) else entry.value
            slots[rva] = f"{str(library.name).lower()}!{name}"
    return slots


def _guard_slots(binary: lief.PE.Binary) -> dict[int, str]:
    """Pointers in read-only data that the loader writes for control flow guard: like imports, they are found by what they are."""
    if not binary.has_configuration:
        return {}
    configuration = binary.load_configuration
    slots = {}
    for name in ("guard_cf_check_function_pointer", "guard_cf_dispatch_function_pointer"):
        address = getattr(configuration, name, None)
        if address:
            slots[address - binary.optional_header.imagebase] = f"loader!{name}"
    return slots


def _symbols(binary: lief.PE.Binary) -> dict[int, str]:
    names: dict[int, str] = {}
    sections = list(binary.sections)
    for symbol in binary.symbols:
        number = symbol.section_idx
        if symbol.complex_type == lief.COFF.Symbol.COMPLEX_TYPE.FUNCTION and 0 < number <= len(sections):
            names.setdefault(sections[number - 1].virtual_address + symbol.value, str(symbol.name))
    return names


def _runtime_functions(mapped: bytes, binary: lief.PE.Binary) -> tuple[RuntimeFunction, ...]:
    directory = binary.data_directories[3]
    table = mapped[directory.rva : directory.rva + directory.size // 12 * 12]
    rows = [RuntimeFunction(*row) for row in struct.iter_unpack("<III", table)]
    return tuple(sorted((row for row in rows if row.begin < row.end <= len(mapped)), key=lambda row: row.begin))


def _relocations(binary: lief.PE.Binary) -> tuple[int, ...]:
    rvas = []
    for page in binary.relocations:
        for entry in page.entries:
            if entry.type == lief.PE.RelocationEntry.BASE_TYPES.DIR64:
                rvas.append(entry.address)
    return tuple(sorted(rvas))


def _tls(mapped: bytes, binary: lief.PE.Binary) -> TlsDirectory | None:
    tls = binary.tls
    if tls is None:
        return None
    base = binary.optional_header.imagebase
    begin, end = (address - base for address in tls.addressof_raw_data)
    return TlsDirectory(
        template=mapped[begin:end] if 0 < begin <= end <= len(mapped) else b"",
        zero_fill=tls.sizeof_zero_fill,
        callbacks=tuple(address - base for address in tls.callbacks),
        callbacks_array=tls.addressof_callbacks - base if tls.addressof_callbacks else 0,
        index=tls.addressof_index - base,
    )
