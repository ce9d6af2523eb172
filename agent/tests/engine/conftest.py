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
from engine_driver import WINE, WINESERVER, Prefix
from engine_payloads import TargetModule

from lab.wine import kill_until_gone, processes_of_prefix, remove_server_folder, server_listens, wait_until

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
    root.mkdir()
    # Stays until the end: one that a target started would give way to others as the target does.
    server = subprocess.Popen([WINESERVER, "-f", "-p"], env=prefix.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: server_listens(server.pid), 60)
        boot = [WINE, "wineboot.exe", "-i"]
        # Nothing of what it prints is read: programs that it leaves running would keep a pipe open.
        subprocess.run(boot, env=prefix.environment, check=True, timeout=300, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield prefix
    finally:
        subprocess.run([WINESERVER, "-k"], env=prefix.environment, check=False)
        server.wait(60)
        kill_until_gone(lambda: processes_of_prefix(root))  # Wine's device programs outlive their server
        remove_server_folder(root)


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
