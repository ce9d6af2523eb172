# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m demo``: tells the story once, and exits with 1 when a claim did not hold."""

from __future__ import annotations

import shutil
import sys

from demo.fleet import REPOSITORY
from demo.stage import DemoError, Stage
from demo.story import Files, Story
from lab import Lab


def main() -> int:
    """Runs the demo below ``.build/demo``, where its files and logs stay until the next run."""
    folder = REPOSITORY / ".build" / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    stage = Stage(folder / "logs")
    try:
        with Lab(folder / "lab") as lab:
            Story(stage, Files(folder), lab).tell()
    except DemoError as error:
        print(f"\n\033[31mThis did not hold: {error}\033[0m", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
