# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m benchmarks``: measures, prints the table, draws the picture.

A missed goal is a line of the table; only what could not be measured is a failure.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.lines import lines, table
from benchmarks.measurements import FULL, QUICK, run
from benchmarks.picture import render
from lab import Lab
from lab.host import REPOSITORY


def main() -> int:
    """The exit code: 1 when something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What does a hotpatch cost?")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that everything runs, its figures mean little")
    parser.add_argument("--output", type=Path, default=REPOSITORY / ".build" / "bench", help="folder for figures and picture")
    options = parser.parse_args()
    output: Path = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    with Lab(REPOSITORY / ".build" / "bench" / "lab") as lab:
        document = run(lab, QUICK if options.quick else FULL, lambda text: print(f"  {text}", file=sys.stderr, flush=True))
    made = lines(document)
    document["lines"] = [line.as_json() for line in made]
    figures, picture = output / "figures.json", output / "benchmarks.html"
    figures.write_text(json.dumps(document))
    picture.write_text(render(document, made), encoding="utf-8")
    print(table(made))
    missed = sum(line.met is False for line in made)
    print(f"\nGoals missed: {missed} of {sum(line.met is not None for line in made)}\nPicture: {picture}\nRaw figures: {figures}")
    return 1 if document["not_measured"] else 0


if __name__ == "__main__":
    sys.exit(main())
