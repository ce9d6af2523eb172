# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a payload built from two real builds of a DLL contains."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import iced_x86 as x86
import pytest

from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload import pe
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload.build import Built, build
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload.format import FixupBase, FixupKind, Payload, Quiescence, Redirect
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload.functions import RefKind, analyse
from lab import targets

from .conftest import META, dll, fix

REGION = 0x1_9000_0000


def loaded(payload: Payload, image: pe.Image) -> bytes:
    """The region as it is in a process: fixups applied, the module at its preferred base, the region at REGION."""
    memory = bytearray(payload.region_size)
    for section in payload.sections:
        memory[section.offset : section.offset + len(section.data)] = section.data
    for fixup in payload.fixups:
        base = image.image_base if fixup.base is FixupBase.TARGET else REGION
        value = base + fixup.value + fixup.addend
        if fixup.kind is FixupKind.REL32:
            memory[fixup.offset : fixup.offset + 4] = (value - (REGION + fixup.offset + 4)).to_bytes(4, "little", signed=True)
        else:
            memory[fixup.offset : fixup.offset + 8] = value.to_bytes(8, "little")
    return bytes(memory)


def new_code(built: Built, name: str) -> list[x86.Instruction]:
    """The instructions of one new function, in place."""
    row = next(row for row in built.explanation["functions"] if row["name"] == name)
    memory = loaded(built.payload, pe.parse(dll("v1")))
    return list(x86.Decoder(64, memory[row["entry"] : row["entry"] + row["new_length"]], ip=REGION + row["entry"]))


def texts(built: Built, name: str) -> set[bytes]:
    """The texts that one new function computes the address of, wherever they lie."""
    image = pe.parse(dll("v1"))
    memory = loaded(built.payload, image)
    found = set()
    for instruction in new_code(built, name):
        if instruction.mnemonic == x86.Mnemonic.LEA and instruction.is_ip_rel_memory_operand:
            address = instruction.ip_rel_memory_address
            inside = 0 <= address - REGION < len(memory)
            place = memory[address - REGION :] if inside else image.read(address - image.image_base, 200)
            found.add(place.split(b"\0", 1)[0])
    return found


@pytest.mark.parametrize("padded", [True, False])
def test_only_the_functions_that_were_fixed_are_replaced(padded: bool) -> None:
    names = [function.name for function in fix("v2", padded=padded).payload.functions]
    assert len(names) == 2
    assert "orders_echo" in names
    internal = next(name for name in names if name != "orders_echo")
    assert internal.startswith("sub_"), "the fixed internal function has no name in a stripped module"


@pytest.mark.parametrize("padded", [True, False])
def test_the_expected_bytes_are_those_of_the_old_file(padded: bool) -> None:
    image = pe.parse(dll("v1", padded=padded))
    payload = fix("v2", padded=padded).payload
    assert payload.target.sha256 == image.sha256
    assert payload.target.size == len(image.data)
    for function in payload.functions:
        assert image.read(function.rva, function.length) == function.expected
        assert image.read(function.rva - len(function.padding), len(function.padding)) == function.padding


def test_a_padded_build_needs_no_stop() -> None:
    payload = fix("v2").payload
    assert {function.redirect for function in payload.functions} == {Redirect.SHORT}
    assert all(function.rva % 16 == 0 and function.padding == b"\x90" * 5 for function in payload.functions)
    assert payload.quiescence is Quiescence.ENTRY


def test_without_padding_whole_instructions_are_overwritten() -> None:
    payload = fix("v2", padded=False).payload
    near = [function for function in payload.functions if function.redirect is Redirect.NEAR]
    assert near
    for function in near:
        lengths = [instruction.len for instruction in x86.Decoder(64, function.expected)]
        ends = {sum(lengths[:count]) for count in range(len(lengths) + 1)}
        assert function.overwrite in ends
        assert function.overwrite >= 5
        assert function.overwrite - 5 < max(lengths)


def test_the_same_inputs_give_the_same_bytes() -> None:
    assert build(dll("v1"), dll("v2"), META).content == fix("v2").content


def test_what_the_task_says_stands_in_the_payload() -> None:
    payload = fix("v2").payload
    for name in ("id", "sequence", "title", "created", "expires", "cves", "replaces"):
        assert getattr(payload, name) == getattr(META, name)
    assert payload.target.name == "orders.dll"


def test_calls_lead_into_the_old_module() -> None:
    built = fix("v2")
    old = analyse(pe.parse(dll("v1")))
    base = old.image.image_base
    calls = [item.near_branch_target - base for item in new_code(built, "orders_echo") if item.is_call_near]
    before = [ref.target for ref in old.by_rva[old.image.exports["orders_echo"]].references if ref.kind is RefKind.CALL]
    assert before
    assert calls == before, "the fix calls what the old function called, in the same order"


def test_a_new_text_comes_with_the_payload() -> None:
    built = fix("constant")
    text = b"your reference has %zu bytes, which is less than you say"
    assert text not in dll("v1")
    assert text in texts(built, "orders_echo")
    assert {b"reference", b"length"} <= texts(built, "orders_echo"), "the texts both builds have are found too"


def test_a_changed_table_of_pointers_comes_with_what_it_points_to() -> None:
    built = fix("pointers")
    memory = loaded(built.payload, pe.parse(dll("v1")))
    tables = [item for item in new_code(built, "orders_result_text") if item.mnemonic == x86.Mnemonic.LEA and item.is_ip_rel_memory_operand]
    pointers = []
    for item in tables:
        at = item.ip_rel_memory_address - REGION
        if 0 <= at < len(memory):
            pointers.append(int.from_bytes(memory[at + 4 * 8 : at + 5 * 8], "little") - REGION)
    found = [memory[at:].split(b"\0", 1)[0] for at in pointers if 0 <= at < len(memory)]
    assert b"the value is longer than it may be" in found


def test_a_new_function_comes_with_the_payload_and_is_called_there() -> None:
    built = fix("helper")
    assert len(built.explanation["new_functions"]) == 1
    assert [function.name for function in built.payload.functions] == ["orders_echo"]
    code_size = built.payload.sections[0].size
    inside = [item for item in new_code(built, "orders_echo") if item.is_call_near and 0 <= item.near_branch_target - REGION < code_size]
    assert len(inside) == 1
    assert len(built.payload.unwind) == 2, "the new function can be unwound through"


def test_a_switch_table_leads_to_the_new_code() -> None:
    built = fix("switch")
    row = built.explanation["functions"][0]
    table = next(piece for piece in built.explanation["carried"] if piece["kind"] == "jump table")
    memory = loaded(built.payload, pe.parse(dll("v1")))
    starts = {item.ip - REGION for item in new_code(built, row["name"])}
    for at in range(table["offset"], table["offset"] + table["size"], 4):
        assert table["offset"] + int.from_bytes(memory[at : at + 4], "little", signed=True) in starts


def test_a_function_whose_constant_changed_is_replaced_though_its_code_is_the_same() -> None:
    row = fix("switch").explanation["functions"][0]
    assert row["why"] == ["a constant it uses differs"]


@pytest.mark.parametrize("version", ["short", "loop"])
def test_padding_makes_redirectable_what_is_not_without_it(version: str) -> None:
    assert fix(version).payload.functions[0].redirect is Redirect.SHORT


def test_unwind_data_covers_all_new_code() -> None:
    for version in ("v2", "constant", "helper", "switch"):
        built = fix(version)
        covered = {(row.begin, row.end) for row in built.payload.unwind}
        for row in built.explanation["functions"]:
            assert (row["entry"], row["entry"] + row["new_length"]) in covered


def test_a_cpp_function_brings_its_handler_and_exception_types() -> None:
    source = Path(__file__).parent / "sources" / "throwing.cpp"
    old = targets.build_library("throwing.dll", source)
    new = targets.build_library("throwing.dll", source, ("-O2", "-DLIMIT=50"))
    built = build(old.read_bytes(), new.read_bytes(), dataclasses.replace(META, target_name="throwing.dll"))
    assert [function.name for function in built.payload.functions] == ["checked_number"]
    image = pe.parse(old.read_bytes())
    memory = loaded(built.payload, image)
    row = next(row for row in built.payload.unwind if row.begin == built.payload.functions[0].entry)
    handler_at = row.info + 4 + 2 * (memory[row.info + 2] + memory[row.info + 2] % 2)
    handler = int.from_bytes(memory[handler_at : handler_at + 4], "little")
    jump = next(iter(x86.Decoder(64, memory[handler : handler + 5], ip=REGION + handler)))
    original = next(item for item in image.runtime_functions if item.begin == image.exports["checked_number"])
    original_at = original.unwind + 4 + 2 * (image.read(original.unwind, 4)[2] + image.read(original.unwind, 4)[2] % 2)
    assert jump.near_branch_target - image.image_base == image.u32(original_at)
    # The last fields of the table are the types, each the distance to a pointer to type information, the same as in the old module.
    for back in (4, 8):
        old_slot = _end_of_table(image, original_at) - back
        ours = _end_of_table_in(built, row.info) - back
        distance = int.from_bytes(memory[ours : ours + 4], "little", signed=True)
        expected = old_slot + int.from_bytes(image.read(old_slot, 4), "little", signed=True)
        assert REGION + ours + distance - image.image_base == expected


def _end_of_table(image: pe.Image, handler_at: int) -> int:
    """Of a table that begins behind the handler with: omitted start, type encoding, distance from behind itself to its end."""
    data = image.read(handler_at + 4, 3)
    assert data[:2] == b"\xff\x9b"
    assert data[2] < 0x80
    return handler_at + 4 + 3 + data[2]


def _end_of_table_in(built: Built, info: int) -> int:
    piece = next(item for item in built.explanation["carried"] if item["offset"] == info)
    return int(piece["offset"] + piece["size"])


def test_overrides_stand_in_the_title_and_the_explanation() -> None:
    meta = dataclasses.replace(META, overrides=frozenset({"build_data_changed"}))
    changed = dll("v2").replace(b"gate 3 is closed until Friday", b"gate 5 is closed until Friday")
    built = build(dll("v1"), changed, meta)
    assert built.payload.title == "Over-read in the echo request [overrides: build_data_changed]"
    assert [finding["code"] for finding in built.explanation["overridden"]] == ["build_data_changed"]


def test_the_explanation_names_functions_reasons_and_references() -> None:
    row = next(row for row in fix("v2").explanation["functions"] if row["name"] == "orders_echo")
    assert row["why"] == ["its instructions differ"]
    assert {"kind": "address", "to": '"reference"'} in row["references"]
    assert (row["length"], row["new_length"], row["redirect"]) == (len(fix("v2").payload.functions[1].expected), row["new_length"], "short")
    assert fix("v2").explanation["proven_references"] >= 7
