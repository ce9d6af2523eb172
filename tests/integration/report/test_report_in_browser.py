# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Does the report work in a real browser, from a file, without a network?"""

from __future__ import annotations

import html.parser
import re
import shutil
import subprocess
import typing as t
from pathlib import Path

import pytest
from integration.report.fleet import fleet

from ansible_collections.hotpatch.windows.plugins.plugin_utils._report import collect, render

BROWSER: t.Final = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed (Debian package chromium)")


class Rows(html.parser.HTMLParser):
    """The cells of the table of hosts, and how many elements the page has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.elements = 0
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements += 1
        if tag == "tbody":
            self._inside = ("id", "rows") in attrs
        elif self._inside and tag == "tr":
            self.rows.append([])
        elif self._inside and tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "tbody"

    def handle_data(self, data: str) -> None:
        if self._inside and self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


class Browser:
    """Opens pages and gives back what the browser made of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, page: str, address: str = "") -> tuple[str, str]:
        """The document after the page's script ran, and what the browser logged."""
        file = self._folder / "report.html"
        file.write_text(page, encoding="utf-8")
        done = subprocess.run(
            [
                str(BROWSER),
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
                *("--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr"),
                *(f"--user-data-dir={self._folder / 'profile'}", "--dump-dom", file.as_uri() + address),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    """A browser with a profile of its own."""
    return Browser(tmp_path)


@pytest.fixture(scope="module")
def page() -> str:
    """The report of 240 hosts."""
    return render(collect(fleet(240)))


def status(document: str) -> str:
    """What the page says of the rows it shows."""
    found = re.search(r'id="found"[^>]*>([^<]*)<', document)
    assert found is not None
    return found[1]


def test_the_page_runs_without_a_word_of_complaint_and_shows_the_first_hundred(browser: Browser, page: str) -> None:
    document, console = browser.open(page)
    assert console == ""
    assert len(Rows(document).rows) == 100
    assert status(document) == "240 of 240 hosts, 1 to 100 shown"


def test_the_last_page_holds_the_rest(browser: Browser, page: str) -> None:
    document, _console = browser.open(page, "#page=3")
    assert len(Rows(document).rows) == 40
    assert status(document) == "240 of 240 hosts, 201 to 240 shown"


def test_the_filters_show_those_hosts_and_no_others(browser: Browser, page: str) -> None:
    hosts = collect(fleet(240)).hosts
    document, console = browser.open(page, "#verdict=baseline&find=web%20KB5082063")
    expected = [host.name for host in hosts if host.verdict == "baseline" and host.name.startswith("web")]
    assert expected
    assert [row[0] for row in Rows(document).rows] == expected
    assert console == ""
    rebooting, _console = browser.open(page, "#reboot=1")
    assert [row[0] for row in Rows(rebooting).rows] == [host.name for host in hosts if host.reboot][:100]


def test_what_a_host_reports_cannot_run_or_change_the_page(browser: Browser) -> None:
    data = fleet(3)
    attack = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    data["title"] = attack
    data["hosts"][0]["name"] = attack
    data["hosts"][1]["assessment"]["reasons"] = [{"code": "x", "text": attack}]
    data["hosts"][1]["info"]["payloads"] = [
        {"id": attack, "cves": [attack], "state": "in_force", "processes": [{"image": attack, "state": attack}]}
    ]
    document, console = browser.open(render(collect(data)))
    title = re.search(r"<title>(.*?)</title>", document, re.DOTALL)
    assert title is not None
    assert title[1].startswith("&lt;/script&gt;")
    assert "<img" not in document
    assert console == ""
    assert attack in [row[0] for row in Rows(document).rows]


def test_the_policy_of_the_page_stops_foreign_scripts_even_if_they_got_in(browser: Browser, page: str) -> None:
    document, console = browser.open(page.replace("</main>", "<script>document.title = 'owned'</script></main>"))
    assert "<title>owned</title>" not in document
    assert "Content Security Policy" in console


def test_five_thousand_hosts_stay_a_small_document(browser: Browser) -> None:
    data = fleet(200)
    data["hosts"] = [{**host, "name": f"{host['name']}-{copy}"} for copy in range(25) for host in data["hosts"]]
    page = render(collect(data))
    document, console = browser.open(page)
    assert status(document) == "5000 of 5000 hosts, 1 to 100 shown"
    assert Rows(document).elements < 5000
    assert len(page) < 3_000_000
    assert console == ""
