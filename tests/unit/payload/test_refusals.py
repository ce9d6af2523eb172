# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each thing that cannot be replaced in a running process is refused, by its own code, naming function and place."""

from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import ERRORS, HotpatchError
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload import pe
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload.build import build
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload.refusal import REFUSALS
from lab import targets

from .conftest import META, dll

# new build, with padding or without, code, and what the message must say
FIXTURES = [
    ("v1", True, "build_no_change", "135 functions"),
    ("v3", True, "build_layout_changed", "orders_recent"),
    ("v3", False, "build_layout_changed", "256 bytes more"),
    ("context", True, "build_layout_changed", "HeapAlloc"),
    ("variable", True, "build_layout_changed", "orders_echo"),
    ("rebuild", True, "build_whole_rebuild", "functions differ"),
    ("import", True, "build_imports_changed", "kernel32.dll!HeapValidate"),
    ("export", True, "build_exports_changed", "orders_release"),
    ("tls", True, "build_tls_changed", "orders_echo"),
    ("initialiser", True, "build_initialiser_changed", "only at load or unload"),
    ("data", True, "build_data_changed", "orders_recent"),
    ("callback", True, "build_unsupported_reference", "address of the new function"),
    ("short", False, "build_function_too_short", "orders_maintenance has 3 bytes"),
    ("loop", False, "build_branch_into_entry", "orders_ticket+0x2"),
]


@pytest.mark.parametrize(("version", "padded", "code", "words"), FIXTURES, ids=[f"{row[0]}-{row[2]}" for row in FIXTURES])
def test_the_fix_is_refused_with_its_reason(version: str, padded: bool, code: str, words: str) -> None:
    with pytest.raises(HotpatchError) as refused:
        build(dll("v1", padded=padded), dll(version, padded=padded), META)
    assert refused.value.code == code
    assert words in refused.value.message
    assert refused.value.remedy == ERRORS[code].remedy


def test_the_layout_change_names_every_function_and_its_evidence() -> None:
    with pytest.raises(HotpatchError) as refused:
        build(dll("v1"), dll("v3"), META)
    findings = refused.value.details["refusals"]
    assert {finding["code"] for finding in findings} == {"build_layout_changed"}
    named = {name for finding in findings for name in finding["functions"]}
    assert "orders_recent" in named
    assert len(named) == 2, "the function that fills the ring and the one that reads it"
    assert any("+0x4" in finding["message"] and "+0x8" in finding["message"] for finding in findings)


def test_what_is_no_module_is_refused() -> None:
    for data in (b"", b"MZ", b"\x7fELF" + bytes(200), dll("v1")[:300]):
        with pytest.raises(HotpatchError) as refused:
            build(data, dll("v2"), META)
        assert refused.value.code == "build_not_pe"


def test_a_module_for_another_machine_is_refused() -> None:
    data = bytearray(dll("v2"))
    header = int.from_bytes(data[0x3C:0x40], "little")
    data[header + 4 : header + 6] = (0xAA64).to_bytes(2, "little")
    with pytest.raises(HotpatchError) as refused:
        build(dll("v1"), bytes(data), META)
    assert refused.value.code == "build_not_pe"


def test_two_different_modules_are_refused() -> None:
    with pytest.raises(HotpatchError) as refused:
        build(dll("v1"), targets.build("v2").exe.read_bytes(), META)
    assert refused.value.code == "build_different_modules"


def test_unwind_data_of_an_unknown_version_is_refused() -> None:
    image = pe.parse(dll("v2"))
    row = next(row for row in image.runtime_functions if row.begin == image.exports["orders_echo"])
    section = next(section for section in image.sections if section.rva <= row.unwind < section.end)
    data = bytearray(dll("v2"))
    at = data.index(image.read(section.rva, section.initialised)) + row.unwind - section.rva
    data[at] = data[at] & ~7 | 5
    with pytest.raises(HotpatchError) as refused:
        build(dll("v1"), bytes(data), META)
    assert refused.value.code == "build_unsupported_unwind"
    assert "orders_echo" in refused.value.message


@pytest.mark.parametrize("name", ["build_tls_changed", "build_proof_failed", "everything", "build_data_changed@9010"])
def test_what_cannot_be_overridden_is_an_invalid_override(name: str) -> None:
    with pytest.raises(HotpatchError) as refused:
        build(dll("v1"), dll("v2"), dataclasses.replace(META, overrides=frozenset({name})))
    assert refused.value.code == "argument_invalid"


def test_an_override_of_one_place_does_not_cover_another() -> None:
    meta = dataclasses.replace(META, overrides=frozenset({"build_data_changed@0x9000"}))
    changed = dll("v2").replace(b"gate 3 is closed until Friday", b"gate 5 is closed until Friday")
    with pytest.raises(HotpatchError) as refused:
        build(dll("v1"), changed, meta)
    assert refused.value.code == "build_data_changed"
    place = refused.value.details["refusals"][0]["rvas"][0]
    build(dll("v1"), changed, dataclasses.replace(META, overrides=frozenset({f"build_data_changed@{place:#x}"})))


def test_an_override_does_not_carry_what_has_no_place() -> None:
    meta = dataclasses.replace(META, overrides=frozenset({"build_layout_changed"}))
    with pytest.raises(HotpatchError) as refused:
        build(dll("v1"), dll("v3"), meta)
    assert refused.value.code == "build_layout_changed"
    assert "not proven" in refused.value.message


def test_every_refusal_has_a_fixture() -> None:
    elsewhere = {"build_different_modules"}
    assert {refusal.code for refusal in REFUSALS} <= {code for _, _, code, _ in FIXTURES} | elsewhere
