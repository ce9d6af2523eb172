# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does the catalog module make the right file, as a user runs it, from files and from a feed on the loopback?"""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
import typing as t
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from integration.controller import Controller, Json, Outcome

from ansible_collections.hotpatch.windows.plugins.plugin_utils._catalog_files import load_catalog
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import Month

FIXTURES: t.Final = Path(__file__).parents[2] / "unit" / "decision" / "fixtures"
SERVER: t.Final = "windows_server_2025"


class FeedHandler(http.server.SimpleHTTPRequestHandler):
    """Serves documents as the real feed does: the month is the last part of the address."""

    def translate_path(self, path: str) -> str:
        return str(Path(super().translate_path(path)).with_suffix(".xml"))

    def log_message(self, format: str, *args: t.Any) -> None:
        """Keep quiet."""


@pytest.fixture
def feed() -> Iterator[str]:
    """The address of a feed that has April and May of 2030 and nothing else."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(FeedHandler, directory=str(FIXTURES)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class Catalogs:
    """Runs the module, several tasks at a time, since starting Ansible is what takes long."""

    def __init__(self, folder: Path) -> None:
        self.dest = folder / "catalog.json"
        self._controller = Controller(folder)

    def run(self, tasks: Sequence[Json], *, check: bool = False) -> tuple[list[Json], Outcome]:
        """The result of each task."""
        named = [
            {"name": f"task {number}", "hotpatch.windows.catalog": {"dest": str(self.dest), **arguments}, "ignore_errors": True}
            for number, arguments in enumerate(tasks)
        ]
        play = {"name": "play", "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": named}
        outcome = self._controller.play([play], [], check=check)
        outcome.expect()
        return [outcome.result(f"task {number}") for number in range(len(tasks))], outcome


@pytest.fixture
def catalogs(tmp_path: Path) -> Catalogs:
    """The module with a folder of its own."""
    return Catalogs(tmp_path)


FROM_FILES: t.Final[Json] = {
    "shipped_catalog": False,
    "feeds": [str(FIXTURES / "2030-Apr.xml"), str(FIXTURES / "2030-May.json")],
}


def test_check_mode_says_what_the_run_then_does_and_the_second_run_changes_nothing(catalogs: Catalogs) -> None:
    (checked,), _outcome = catalogs.run([FROM_FILES], check=True)
    assert not catalogs.dest.exists()
    backwards = {**FROM_FILES, "feeds": list(reversed(FROM_FILES["feeds"]))}
    (made, again, other_order), _outcome = catalogs.run([FROM_FILES, FROM_FILES, backwards])
    assert [checked["changed"], made["changed"], again["changed"], other_order["changed"]] == [True, True, False, False]
    assert checked["diff"] == made["diff"]
    assert checked["sha256"] == made["sha256"] == hashlib.sha256(catalogs.dest.read_bytes()).hexdigest()
    may = next(row for row in made["months"] if (row["product"], row["month"]) == (SERVER, "2030-05"))
    assert (may["kind"], may["lcu"], may["hotpatch"]) == ("hotpatch", "KB9000501 26100.50200", "KB9000503 26100.50110")
    assert "CVE-2030-10002" in may["left_open"]
    assert made["diff"]["before"] == ""
    assert len(made["diff"]["after"].splitlines()) == 3


def test_missing_months_are_fetched_once_and_added_to_what_is_there(catalogs: Catalogs, feed: str) -> None:
    april = {"shipped_catalog": False, "feeds": [str(FIXTURES / "2030-Apr.xml")]}
    more = {"shipped_catalog": False, "update": True, "months": ["missing"], "url": feed, "date": "2030-06-20", "use_proxy": False}
    (first, second, third), outcome = catalogs.run([april, more, more])
    assert [first["changed"], second["changed"], third["changed"]] == [True, True, False]
    assert sorted(load_catalog(catalogs.dest).products[SERVER]) == [Month(2030, 4), Month(2030, 5)]
    assert "The feed has no document for 2030-06 yet." in outcome.output


def test_the_own_list_wins_and_the_shipped_snapshot_is_the_base(catalogs: Catalogs, tmp_path: Path) -> None:
    own = tmp_path / "own.yml"
    own.write_text(
        "schema: 1\n"
        "packages:\n  KB5087423: {file: /srv/kb5087423.msu}\n"
        "fixes:\n  - {id: orders, title: t, cves: [CVE-2026-90001], module: orders.dll, refusal: {code: build_no_change, text: none}}\n"
    )
    (result,), _outcome = catalogs.run([{"own_lists": [str(own)]}])
    catalog = load_catalog(catalogs.dest)
    assert result["fixes"] == ["orders"]
    assert catalog.packages["KB5087423"].file == "/srv/kb5087423.msu"
    assert catalog.find(SERVER, "KB5087423") is not None
    assert {"kind": "own_list", "name": "own.yml", "date": None} in result["sources"]


def test_every_bad_source_is_one_clear_error_and_the_file_stays_as_it_was(catalogs: Catalogs, feed: str, tmp_path: Path) -> None:
    (tmp_path / "torn.xml").write_bytes((FIXTURES / "2030-May.xml").read_bytes()[:5000])
    (tmp_path / "own.yml").write_text("schema: 1\nfixes: nothing\n")
    catalogs.run([FROM_FILES])
    before = catalogs.dest.read_bytes()
    bad: list[tuple[Json, str]] = [
        ({"feeds": [str(tmp_path / "torn.xml")]}, "catalog_malformed"),
        ({"feeds": [str(FIXTURES / "entities.xml")]}, "catalog_malformed"),
        ({"feeds": [str(tmp_path / "none.xml")]}, "argument_invalid"),
        ({"own_lists": [str(tmp_path / "own.yml")]}, "catalog_malformed"),
        ({"months": ["2030-06"], "url": feed, "use_proxy": False}, "feed_unreachable"),
        ({"months": ["2030-05"], "url": "http://127.0.0.1:9", "use_proxy": False}, "feed_unreachable"),
        ({"months": ["May"]}, "argument_invalid"),
        ({"products": ["windows_10"]}, "argument_invalid"),
        ({"date": "soon", "months": ["missing"]}, "argument_invalid"),
        ({"dest": str(tmp_path / "no" / "catalog.json")}, "file_unwritable"),
        ({"shipped_catalog": False}, "argument_conflict"),
    ]
    results, _outcome = catalogs.run([arguments for arguments, _code in bad])
    assert [result["error"]["code"] for result in results] == [code for _arguments, code in bad]
    assert all(result["error"]["remedy"] for result in results)
    assert catalogs.dest.read_bytes() == before
