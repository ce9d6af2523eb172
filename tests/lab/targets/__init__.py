# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own Windows server program, in every build that tests and the demo need.

``orders.exe`` is an HTTP service whose work is done in ``orders.dll``. Version 1 of the DLL has two memory-safety bugs, each with
an :class:`Exploit`; version 2 fixes both; version 3 fixes something whose fix changes a structure. Builds are deterministic:
the same sources, options and compiler give the same bytes, which are kept under ``.build/lab/targets/<hash>``.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .variants import PROGRAM_VARIANTS, VARIANTS, Variant

__all__ = ["EXPLOITS", "PROGRAM_VARIANTS", "VARIANTS", "Exploit", "TargetFiles", "build", "build_program"]

_SOURCE = Path(__file__).parent / "src"
_CACHE = Path(__file__).parents[3] / ".build" / "lab" / "targets"
_CC = "x86_64-w64-mingw32-gcc-posix"
_CXX = "x86_64-w64-mingw32-g++-posix"
_OBJCOPY = "x86_64-w64-mingw32-objcopy"
_WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
# 16 bytes of NOPs keep the entry itself 16-byte aligned; endbr64 gives functions a first instruction of 4 bytes.
_PADDING = ("-fpatchable-function-entry=16,16", "-fcf-protection=branch")
_EPOCH = 1735689600  # 2025-01-01: the PE header's time stamp of version 1; each variant gets a later one


@dataclass(frozen=True)
class TargetFiles:
    """The two files of one build; install them into one folder."""

    exe: Path
    dll: Path


@dataclass(frozen=True)
class Exploit:
    """One request that reads what it must not, and how to tell from the answer's body that it did."""

    name: str
    function: str
    path: str
    proves: Callable[[bytes], bool]


EXPLOITS = (
    Exploit(
        "the signing key behind the echoed reference",
        "orders_echo",
        "/echo?reference=me&length=104",
        lambda body: b"rk-live-7f3a9c52d1e84b06a5c7e9f1b2d40863" in body,
    ),
    Exploit("the override code before the first note", "note_text", "/notes/-1", lambda body: b"override code 4471-0926" in body),
)


def build(version: str, *, padded: bool = True) -> TargetFiles:
    """Builds (once) the program with one variant of its DLL.

    :param version: a key of :data:`VARIANTS`.
    :param padded: with hotpatch padding before each function, so that entries are redirected by a 2-byte exchange.
    :raises RuntimeError: the compiler failed; its messages are in the text.
    """
    variant = VARIANTS[version]
    folder = _CACHE / _key(version, variant, padded)
    files = TargetFiles(folder / "orders.exe", folder / "orders.dll")
    if files.exe.exists() and files.dll.exists():
        return files
    _CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(_CACHE / "lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
                work = Path(scratch)
                _compile_dll(work, version, variant, padded)
                (work / "done").mkdir()
                shutil.copy(work / "orders.dll", work / "done")
                shutil.copy(build_program("x1"), work / "done")
                (work / "done").rename(folder)
    return files


@functools.cache
def _compiler_version() -> str:
    return subprocess.run([_CXX, "--version"], check=True, capture_output=True, text=True).stdout


def _key(version: str, variant: Variant, padded: bool) -> str:
    digest = hashlib.sha256(repr((version, variant.edits, variant.flags, padded, _compiler_version(), _options(padded))).encode())
    for path in sorted([*_SOURCE.rglob("*.*"), Path(__file__)]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"{version}-{'padded' if padded else 'plain'}-{digest.hexdigest()[:16]}"


def _options(padded: bool) -> tuple[str, ...]:
    return (*_WARNINGS, *(_PADDING if padded else ()))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keeps test processes that run side by side from building the same thing twice."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(arguments: list[str], folder: Path, epoch: int) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "LC_ALL": "C"}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(arguments)}\n{done.stdout}{done.stderr}")


def _compile_dll(work: Path, version: str, variant: Variant, padded: bool) -> None:
    """Leaves ``orders.dll`` and its import library in ``work``."""
    shutil.copytree(_SOURCE / "dll", work / "dll")
    for edit in variant.edits:
        path = work / "dll" / edit.path
        path.write_text(edit.apply(path.read_text()))
    objects = [str(_object(work, source, (*variant.flags, *_options(padded)))) for source in sorted((work / "dll").glob("*.c"))]
    # Without a fixed base, ld derives one from the output's name.
    link = ["-shared", "-static", "-s", "-Wl,--image-base=0x180000000", "-Wl,--out-implib,liborders.a"]
    _run([_CC, "-o", "orders.dll", *objects, *link], work, _EPOCH + 86400 * list(VARIANTS).index(version))


def _object(work: Path, source: Path, flags: tuple[str, ...]) -> Path:
    """Compiles (once) one file of the DLL; variants differ in one or two, so they share most objects."""
    digest = hashlib.sha256(repr((source.name, flags, _compiler_version())).encode())
    for path in [source, *sorted(source.parent.glob("*.h"))]:
        digest.update(path.read_bytes())
    cached = _CACHE / "objects" / f"{source.stem}-{digest.hexdigest()[:16]}.o"
    if not cached.exists():
        name = f"{source.stem}.o"
        _run([_CC, "-std=c17", "-DORDERS_BUILD", *flags, "-c", f"dll/{source.name}", "-o", name], work, _EPOCH)
        # GCC lists the padded entries in a section of its own, which nothing on Windows reads.
        _run([_OBJCOPY, "--remove-section=__patchable_function_entries", name], work, _EPOCH)
        cached.parent.mkdir(exist_ok=True)
        (work / name).rename(cached)
    return cached


def build_program(version: str) -> Path:
    """The path of ``orders.exe`` in one of :data:`PROGRAM_VARIANTS`; it is the same whatever DLL lies beside it."""
    variant = PROGRAM_VARIANTS[version]
    digest = hashlib.sha256(repr((version, variant.edits, variant.flags, _compiler_version(), _options(False))).encode())
    for path in sorted([*(_SOURCE / "exe").iterdir(), _SOURCE / "dll" / "orders.h", Path(__file__)]):
        digest.update(path.read_bytes())
    program = _CACHE / f"exe-{version}-{digest.hexdigest()[:16]}" / "orders.exe"
    if not program.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
            work = Path(scratch)
            _compile_dll(work, "v1", VARIANTS["v1"], False)
            shutil.copytree(_SOURCE / "exe", work / "exe")
            for edit in variant.edits:
                path = work / "exe" / edit.path
                path.write_text(edit.apply(path.read_text()))
            sources = [f"exe/{path.name}" for path in sorted((work / "exe").glob("*.cpp"))]
            options = ["-std=c++20", *variant.flags, *_options(False), "-I.", "-static", "-s"]
            _run([_CXX, *options, *sources, "-o", "orders.exe", "liborders.a", "-lws2_32"], work, _EPOCH)
            program.parent.mkdir(exist_ok=True)
            (work / "orders.exe").rename(program)
    return program


def build_library(name: str, source: Path, flags: tuple[str, ...] = ("-O2",)) -> Path:
    """Builds (once) a DLL or program from one source file, for tests that need code the order service does not have.

    :param name: of the file; one that ends in ``.dll`` becomes a DLL, which also calls itself so.
    :raises RuntimeError: the compiler failed; its messages are in the text.
    """
    digest = hashlib.sha256(repr((name, flags, _compiler_version())).encode() + Path(__file__).read_bytes() + source.read_bytes())
    folder = _CACHE / f"{source.stem}-{digest.hexdigest()[:16]}"
    if not (folder / name).exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with _locked(_CACHE / "lock"), tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
            work = Path(scratch)
            link = ["-static", "-s", *(["-shared", "-Wl,--image-base=0x190000000"] if name.endswith(".dll") else [])]
            compiler = [_CC, "-std=c17"] if source.suffix == ".c" else [_CXX, "-std=c++20"]
            _run([*compiler, *_WARNINGS, *flags, str(source.resolve()), "-o", name, *link], work, _EPOCH)
            folder.mkdir(exist_ok=True)
            (work / name).rename(folder / name)
    return folder / name
