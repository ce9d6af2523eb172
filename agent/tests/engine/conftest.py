# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the engine's tests: the programs are built once, one Wine prefix serves all tests, each test has its own folder."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_driver import WINE, Prefix
from engine_payloads import TargetModule

REPOSITORY = Path(__file__).resolve().parents[3]
BUILD = REPOSITORY / ".build" / "engine-tests"


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder with engine-tool, target, sample and the fixes' object files, built if need be."""
    if "HOTPATCH_ENGINE_PROGRAMS" in os.environ:
        return Path(os.environ["HOTPATCH_ENGINE_PROGRAMS"])
    BUILD.mkdir(parents=True, exist_ok=True)
    # Test processes that run side by side build once, one after the other.
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _build()
    return BUILD / "engine-tests"


def _build() -> None:
    toolchain = REPOSITORY / "agent" / "cmake" / "mingw-w64.cmake"
    if not (BUILD / "build.ninja").exists():
        configure = ["cmake", "-S", str(REPOSITORY / "agent"), "-B", str(BUILD), "-G", "Ninja", f"-DCMAKE_TOOLCHAIN_FILE={toolchain}"]
        subprocess.run(configure, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", str(BUILD), "--target", "engine-tests", "--", "-j2"], check=True)


@pytest.fixture(scope="session")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefix]:
    """A Wine prefix of these tests' own."""
    root = tmp_path_factory.mktemp("engine") / "prefix"
    prefix = Prefix(root, root.parent)
    subprocess.run([WINE, "wineboot.exe", "-i"], env=prefix.environment, check=True, capture_output=True, timeout=120)
    yield prefix
    subprocess.run(["/usr/lib/wine/wineserver64", "-k"], env=prefix.environment, check=False)


@pytest.fixture
def prefix(wine: Prefix, programs: Path, tmp_path: Path) -> Iterator[Prefix]:
    """The prefix as one test sees it; what the test starts in it is ended."""
    own = wine.for_test(programs, tmp_path)
    yield own
    own.end()


@pytest.fixture
def sample(prefix: Prefix) -> TargetModule:
    """The module that is patched."""
    return TargetModule(prefix.folder / "sample.dll")
