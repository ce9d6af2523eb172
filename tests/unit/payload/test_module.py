# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module ``payload``: files, idempotence, check mode, diff, and errors as results."""

from __future__ import annotations

import typing as t
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.hotpatch.windows.plugins.action.payload import ActionModule
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload import cose

from .conftest import dll

Json = dict[str, t.Any]


class Project:
    """A folder with builds and a key, and the module that works on it."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self.folder = folder
        for version in ("v1", "v2", "v3"):
            (folder / version).mkdir()
            (folder / version / "orders.dll").write_bytes(dll(version))
        (folder / "key.pem").write_bytes(key)
        self.dest = folder / "orders.hpp1"

    def run(self, arguments: Json, *, check: bool = False, diff: bool = False) -> Json:
        """One task."""
        task = SimpleNamespace(args=arguments, async_val=0, check_mode=check, diff=diff, delegate_to=None, action="payload")
        connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None), become=None, transport="local")

        def find_file(_self: ActionModule, name: str, option: str = "src") -> Path:
            if not Path(name).is_file():
                raise HotpatchError("argument_invalid", f"The file '{name}' was not found on the controller.", where=option)
            return Path(name)

        replaced = {"find_file": find_file, "module_name": classmethod(lambda _cls: "payload")}
        plugin = type("OnController", (ActionModule,), replaced)(
            task, connection, None, None, SimpleNamespace(template=lambda value: value)
        )
        return t.cast(Json, plugin.run(task_vars={}))

    def build(self, new: str = "v2", *, check: bool = False, diff: bool = False, **more: t.Any) -> Json:
        """Builds ``dest`` from version 1 and another."""
        arguments = {
            "old": str(self.folder / "v1" / "orders.dll"),
            "new": str(self.folder / new / "orders.dll"),
            "dest": str(self.dest),
            "id": "orders-2026-11",
            "expires": "2030-03-31",
            "key": str(self.folder / "key.pem"),
        }
        return self.run({name: value for name, value in {**arguments, **more}.items() if value is not None}, check=check, diff=diff)


@pytest.fixture
def project(tmp_path: Path, key: bytes) -> Project:
    """A fresh folder."""
    return Project(tmp_path, key)


def test_a_payload_is_built_signed_and_verifies_with_the_returned_key(project: Project) -> None:
    result = project.build()
    assert (result["changed"], result["payload"]["signed"]) == (True, True)
    trusted = [{"name": "tests", "public_key": result["public_key"]}]
    verified = project.run({"state": "verified", "src": str(project.dest), "trusted_keys": trusted})
    assert "failed" not in verified
    assert verified["payload"] == result["payload"]


def test_the_second_run_changes_nothing_not_even_the_time_of_creation(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.build()
    before = project.dest.read_bytes()
    monkeypatch.setattr("time.time", lambda: 1_900_000_000.0)
    assert project.build()["changed"] is False
    assert project.dest.read_bytes() == before
    changed = project.build(sequence=2)
    assert (changed["changed"], changed["payload"]["created"]) == (True, 1_900_000_000)


def test_check_mode_writes_nothing_and_says_what_would_be(project: Project) -> None:
    foretold = project.build(check=True)
    assert foretold["changed"] is True
    assert not project.dest.exists()
    done = project.build()
    assert {**foretold["payload"], "sha256": 0, "created": 0} == {**done["payload"], "sha256": 0, "created": 0}
    assert project.build(check=True)["changed"] is False


def test_the_diff_shows_what_the_payload_does(project: Project) -> None:
    diff = project.build(diff=True)["diff"]
    assert diff["before"] == {}
    assert "orders_echo" in [row["name"] for row in diff["after"]["functions"]]
    later = project.build(diff=True, title="Another title")["diff"]
    assert (later["before"]["title"], later["after"]["title"]) == ("orders-2026-11", "Another title")


def test_a_payload_can_be_built_here_and_signed_there(project: Project) -> None:
    unsigned = project.build(key=None)
    assert unsigned["payload"]["signed"] is False
    signed = project.folder / "signed.hpp1"
    arguments = {"state": "signed", "src": str(project.dest), "dest": str(signed), "key": str(project.folder / "key.pem")}
    assert project.run(arguments)["payload"]["signed"] is True
    assert project.run(arguments)["changed"] is False
    assert cose.parse(signed.read_bytes()).content == project.dest.read_bytes()
    refused = project.run({"state": "verified", "src": str(project.dest), "trusted_keys": []})
    assert refused["error"]["code"] == "payload_unsigned"


def test_what_cannot_be_hotpatched_fails_and_leaves_the_file_alone(project: Project) -> None:
    project.build()
    before = project.dest.read_bytes()
    result = project.build("v3")
    assert (result["failed"], result["error"]["code"]) == (True, "build_layout_changed")
    assert "orders_recent" in result["msg"]
    assert project.dest.read_bytes() == before


def test_a_refusal_can_be_reported_instead(project: Project) -> None:
    result = project.build("v3", on_refusal="report")
    assert "failed" not in result
    assert result["changed"] is False
    assert {finding["code"] for finding in result["refusals"]} == {"build_layout_changed"}
    assert not project.dest.exists()


def test_explaining_believes_nothing_and_says_everything(project: Project) -> None:
    project.build()
    result = project.run({"state": "explained", "src": str(project.dest)})
    assert (result["changed"], result["explanation"]["target"]["name"]) == (False, "orders.dll")
    assert {row["redirect"] for row in result["explanation"]["functions"]} == {"short"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"expires": "soon"}, "argument_invalid"),
        ({"id": "Not An Id"}, "payload_malformed"),
        ({"key": "/nowhere/key.pem"}, "file_missing"),
        ({"old": "/nowhere/orders.dll"}, "file_missing"),
        ({"dest": "/nowhere/orders.hpp1"}, "file_unwritable"),
        ({"key_content": "-----BEGIN"}, "argument_conflict"),
        ({"key": None, "key_content": "no key"}, "key_unusable"),
        ({"sequence": "many"}, "argument_invalid"),
        ({"overrides": ["everything"]}, "argument_invalid"),
        ({"expires": None}, "argument_invalid"),
        ({"surprise": 1}, "argument_invalid"),
    ],
)
def test_bad_input_gives_one_clear_error_and_no_file(project: Project, arguments: Json, code: str) -> None:
    result = project.build(**arguments)
    assert (result["failed"], result["error"]["code"]) == (True, code)
    assert not project.dest.exists()


def test_the_passphrase_never_shows(project: Project) -> None:
    (project.folder / "key.pem").write_bytes(cose.generate_key(b"open sesame"))
    for passphrase in ("open sesame", "shut sesame"):
        assert passphrase not in str(project.build(key_passphrase=passphrase))
