# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How does the disk of a host become full, so that Windows programs really get ERROR_DISK_FULL?

A small file system in memory (tmpfs) is mounted over one folder of the host. The kernel then refuses writes with ENOSPC,
which Wine reports as ERROR_DISK_FULL, and free space is reported as it is. Mounting needs root.
"""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

from lab.wine import LabError

_MNT_DETACH = 2
_PAGE = os.sysconf("SC_PAGE_SIZE")
_libc = ctypes.CDLL(None, use_errno=True)


def limit(folder: Path, free_bytes: int) -> None:
    """Leaves ``free_bytes`` (rounded up to whole pages, at least one) for writes below ``folder``, which keeps its contents.

    Nothing may have a file of it open: what is open stays on the disk below.
    """
    if is_limited(folder):
        lift(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder.with_name(folder.name + ".below")
    folder.rename(kept)
    folder.mkdir()
    size = _used_pages(kept) * _PAGE + max(_PAGE, -(-free_bytes // _PAGE) * _PAGE)
    options = f"size={size},mode={kept.stat().st_mode & 0o7777:o}"
    if _libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options.encode()) != 0:
        error = ctypes.get_errno()
        folder.rmdir()
        kept.rename(folder)
        raise LabError(f"a file system cannot be mounted here ({os.strerror(error)}): a full disk needs root")
    shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)
    shutil.rmtree(kept)


def lift(folder: Path) -> None:
    """Gives the folder the whole disk again; its contents stay."""
    if not is_limited(folder):
        return
    saved = folder.with_name(folder.name + ".above")
    shutil.copytree(folder, saved, symlinks=True)
    _unmount(folder)
    folder.rmdir()
    saved.rename(folder)


def is_limited(folder: Path) -> bool:
    """Whether a file system is mounted on the folder."""
    return folder.exists() and os.path.ismount(folder)


def unmount_below(root: Path) -> None:
    """Takes away every mount below ``root``, contents and all: the host is going, or its owner has gone."""
    inside = str(root.resolve()) + "/"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        # Spaces in a path are written as \\040.
        place = line.split()[4].encode().decode("unicode_escape")
        if place.startswith(inside):
            _unmount(Path(place))


def _unmount(folder: Path) -> None:
    if _libc.umount2(os.fsencode(folder), _MNT_DETACH) != 0:
        error = ctypes.get_errno()
        raise LabError(f"{folder} cannot be unmounted: {os.strerror(error)}")


def _used_pages(folder: Path) -> int:
    """What the contents take on tmpfs: whole pages for each file. Folders and names take none of its blocks."""
    return sum(-(-path.stat().st_size // _PAGE) for path in folder.rglob("*") if path.is_file())
