# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do the benchmarks run from end to end, and do table and picture hold every line? No figure is judged here."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lab.host import REPOSITORY
from lab.wine import living_processes

LIMIT_S = 900
# What a quick run measures: each kind for each of its cases.
MEASURED = {
    *(f"stop/{method}/{threads}" for method in ("process", "threads") for threads in (1, 8)),
    *(f"{kind}/{form}" for kind in ("unstopped", "calls") for form in ("near", "short")),
    "preflight",
    "service",
}


def processes_below(folder: Path) -> list[int]:
    """Living processes whose command line or Wine prefix lies in a folder."""
    found = []
    for pid in living_processes():
        try:
            words = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in words:
            found.append(pid)
    return found


@pytest.mark.lab
def test_a_quick_run_measures_everything_shows_every_line_and_leaves_nothing_running(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--output", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": f"{REPOSITORY / 'tests'}:{REPOSITORY / '.build'}"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "figures.json").read_text())
    assert set(document["measured"]) == MEASURED
    assert document["not_measured"] == {}

    page = (tmp_path / "benchmarks.html").read_text(encoding="utf-8")
    text = html.unescape(re.sub(r"<[^>]+>", " ", page))
    for line in document["lines"]:
        for word in (line["group"], line["name"], line["figure"], line["goal"]):
            assert word in done.stdout
            assert word in text
    assert page.count("<svg") > 10
    assert not re.search(r"(src|href)=", page)

    for name, raw in document["measured"].items():
        assert all(values and min(values) >= 0 for values in raw.get("series", {}).values()), name
    near, short = (document["measured"][f"unstopped/{form}"] for form in ("near", "short"))
    assert max(near["series"]["suspended"]) > 0  # the watcher does see a stop
    assert max(short["series"]["suspended"]) == 0
    calls = document["measured"]["calls/near"]
    assert calls["patched_answer"] != calls["unpatched_answer"]
    stop = document["measured"]["stop/process/8"]
    assert stop["threads"] == stop["floor_threads"] > 8  # engine and floor stopped the same threads
    service = document["measured"]["service"]
    assert service["stops"]
    assert all(seen["requests"] > 0 and seen["failures"] == 0 for seen in service["kinds"].values())
    assert processes_below(REPOSITORY / ".build" / "bench") == []
