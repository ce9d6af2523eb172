# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How does a new Windows host come to be in less than a second?

A prefix is made once, from nothing, and kept under a name that says what made it. Every host is a clone: directories are
made, files below C:\\windows and C:\\Program Files are hard links of the template's, everything else is copied.

A link is shared storage, so three things keep a host from changing the template through one: the files are read-only, they
belong to another user where that is possible (root builds), and each clone first compares all of them with the template's
manifest; a template that was changed after all is thrown away and built again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import getpass
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.hive import Hive
from lab.wine import LabError, Wine, remove_server_folder, run

WINDOWS_SOURCES = Path(__file__).parent / "windows"
COMPILER = "x86_64-w64-mingw32-gcc-posix"
FLAGS = ("-municode", "-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-static", "-s")
LINKED_FOLDERS = ("windows", "Program Files")
"""Folders whose files no ordinary program changes in place; everything outside them is copied for each host."""
NOBODY = 65534


@dataclass(frozen=True)
class Program:
    """A Windows program of the lab: where its C sources are, where it goes, and what it is linked with."""

    name: str
    sources: tuple[str, ...]
    folder: str
    libraries: tuple[str, ...]
    replaces_builtin: bool = False


SYSTEM = "windows/system32"
PROGRAMS = (
    Program("labctl.exe", ("labctl.c", "exec.c", "registry.c", "services.c"), "lab", ("advapi32", "ntdll")),
    Program("certutil.exe", ("certutil.c",), SYSTEM, ("crypt32", "bcrypt"), replaces_builtin=True),
    Program("wusa.exe", ("wusa.c",), SYSTEM, ("advapi32",), replaces_builtin=True),
    Program("more.com", ("more.c",), SYSTEM, ()),
    Program("tar.exe", ("tar.c",), SYSTEM, ()),
)
KEPT_BUILTINS = ("wusa.exe",)
"""Programs of Wine that a program of ours calls, kept as C:\\lab\\wine\\wine-NAME: the override for the name is by the name."""


@dataclass(frozen=True)
class Template:
    """A finished template."""

    folder: Path

    @property
    def prefix(self) -> Path:
        """The prefix that hosts are cloned from."""
        return self.folder / "prefix"

    def clone(self, target: Path) -> None:
        """Makes a prefix at ``target``; the folder must not exist."""
        with _locked(self.folder.parent / "template.lock", fcntl.LOCK_SH):
            _clone_tree(self.prefix, target, linked=False)


def ensure_template(cache: Path, wine: Wine) -> Template:
    """Gives the template for this Wine and these sources, building it when there is none (about 5 s) or it was damaged."""
    cache = cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"template-{_fingerprint(wine)}"
    with _locked(cache / "template.lock", fcntl.LOCK_EX):
        if folder.exists() and not _is_intact(folder):
            remove_tree(folder)
        if not folder.exists():
            # Clones keep their files when the template they came from goes: a link is as good as any other.
            for outdated in cache.glob("template-*"):
                remove_tree(outdated)
            _build(folder, wine)
    return Template(folder)


@contextlib.contextmanager
def _locked(path: Path, mode: int) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, mode)
        yield


def _fingerprint(wine: Wine) -> str:
    """A name for everything that decides what the template holds."""
    digest = hashlib.sha256()
    version = subprocess.run([wine.loader, "--version"], capture_output=True, check=True).stdout
    digest.update(version + getpass.getuser().encode())
    status = Path(wine.loader).stat()
    digest.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    for source in [Path(__file__), *sorted(WINDOWS_SOURCES.iterdir())]:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


def _build(folder: Path, wine: Wine) -> None:
    work = folder.with_suffix(".building")
    remove_tree(work)
    prefix = work / "prefix"
    prefix.mkdir(parents=True)
    try:
        _run_checked(wine, prefix, ["wineboot.exe", "-i"])
        _run_checked(wine, prefix, ["winecfg.exe", "/v", "win10"])
    finally:
        subprocess.run([wine.server, "-k"], env=wine.environment(prefix), check=False)
        subprocess.run([wine.server, "-w"], env=wine.environment(prefix), check=False, timeout=60)
        remove_server_folder(prefix)  # each host's own server makes its own
    _detach_from_home(prefix)
    _settle_registry(prefix)
    kept = prefix / "drive_c" / "lab" / "wine"
    kept.mkdir(parents=True)
    for name in KEPT_BUILTINS:
        shutil.copy2(prefix / "drive_c" / SYSTEM / name, kept / f"wine-{name}")
    for program in PROGRAMS:
        _compile(program, prefix / "drive_c" / program.folder)
    _protect(prefix)
    (work / "manifest.json").write_text(json.dumps(_manifest(prefix)))
    work.rename(folder)


def _run_checked(wine: Wine, prefix: Path, argv: list[str]) -> None:
    result = run(wine, prefix, argv)
    if result.returncode != 0:
        raise LabError(f"{' '.join(argv)} ended with {result.returncode}: {result.stderr.decode(errors='replace').strip()}")


def _detach_from_home(prefix: Path) -> None:
    """Wine links Desktop, Documents and so on to the folders of the Linux user; a host has its own."""
    for link in [path for path in (prefix / "drive_c").rglob("*") if path.is_symlink()]:
        link.unlink()
        link.mkdir()


def _settle_registry(prefix: Path) -> None:
    user = Hive(prefix / "user.reg")
    # A crash must end the process, as on a server, and not wait for somebody to close a window.
    user.set(r"Software\Wine\WineDbg", "ShowCrashDialog", 0)
    for program in PROGRAMS:
        if program.replaces_builtin:
            user.set(r"Software\Wine\DllOverrides", program.name, "native")
    user.save()


def _compile(program: Program, folder: Path) -> None:
    compiler = shutil.which(COMPILER)
    if compiler is None:
        raise LabError(f"{COMPILER} was not found; on Debian: apt-get install gcc-mingw-w64-x86-64-posix")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / program.name
    target.unlink(missing_ok=True)
    sources = [str(WINDOWS_SOURCES / source) for source in program.sources]
    libraries = [f"-l{library}" for library in program.libraries]
    result = subprocess.run([compiler, *FLAGS, "-o", str(target), *sources, *libraries], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LabError(f"{program.name} does not compile:\n{result.stderr}")


def _linked_files(prefix: Path) -> Iterator[Path]:
    for name in LINKED_FOLDERS:
        for path in sorted((prefix / "drive_c" / name).rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield path


def _protect(prefix: Path) -> None:
    for path in _linked_files(prefix):
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        path.chmod(0o555 if path.suffix in (".exe", ".dll", ".com") else 0o444)


def _manifest(prefix: Path) -> dict[str, list[int]]:
    """Size, time of change and mode of every file that hosts share."""
    manifest = {}
    for path in _linked_files(prefix):
        status = path.stat()
        manifest[str(path.relative_to(prefix))] = [status.st_size, status.st_mtime_ns, status.st_mode]
    return manifest


def _is_intact(folder: Path) -> bool:
    try:
        recorded = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(recorded == _manifest(folder / "prefix"))


def _clone_tree(source: Path, target: Path, *, linked: bool) -> None:
    target.mkdir()
    for entry in os.scandir(source):
        place = target / entry.name
        if entry.is_symlink():
            place.symlink_to(Path(entry.path).readlink())
        elif entry.is_dir():
            _clone_tree(Path(entry.path), place, linked=linked or (source.name == "drive_c" and entry.name in LINKED_FOLDERS))
        elif linked:
            _link(Path(entry.path), place)
        else:
            shutil.copy2(entry.path, place)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        # Another file system than the template's: a real copy is slower and just as good.
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
        shutil.copy2(source, target)


def remove_tree(folder: Path) -> None:
    """Removes a prefix or template; a missing one is no error."""
    for prefix in (folder, folder / "prefix"):
        remove_server_folder(prefix)
    # Of two that clean up after a killed lab at the same time each finds some of it gone.
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        shutil.rmtree(folder)
