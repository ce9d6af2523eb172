# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How is an update package (.msu) made that Windows' installer (here Wine's wusa) really installs?

An .msu is a cabinet with a description (``KB….xml``) and a second cabinet, which holds manifests and, in a folder named
after each manifest, its files. The package carries its level as values below the lab's Pending key; the lab's servicing (its
wusa.exe for a hotpatch, its boot step for an update that needs a restart) puts it into force.
"""

from __future__ import annotations

import enum
import ntpath
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from lab.wine import LabError

TOKEN = "31bf3856ad364e35"
VERSION = "10.0.1.0"
STAGING = r"C:\windows\servicing\lab"
PENDING = r"HKEY_LOCAL_MACHINE\Software\hotpatch.windows\Lab\Pending"
_KB = re.compile(r"KB\d{6,8}")
_DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'


class Damage(enum.Enum):
    """Ways in which a package can be broken."""

    TRUNCATED = "truncated"
    """The second half is missing."""
    BIT_FLIPPED = "bit-flipped"
    """One bit in the middle of the data is wrong."""
    NO_CABINET = "no cabinet"
    """The file is something else altogether."""
    MISSING_FILE = "missing file"
    """Well formed, but a file that the manifest names is not in it."""


def build(path: Path, *, kb: str, ubr: int, files: Mapping[str, bytes] | None = None, reboot: bool = True) -> Path:
    r"""Writes a package to ``path``.

    Args:
        path: Where the .msu goes.
        kb: Its number, such as KB5094126.
        ubr: The update build revision that is in force afterwards.
        files: Contents by full path on the host (``C:\…``).
        reboot: Whether it takes effect at the next boot (a cumulative update) or at once (a hotpatch).
    """
    return _build(path, kb, ubr, files or {}, reboot=reboot, leave_out=False)


def build_damaged(path: Path, damage: Damage, *, kb: str, ubr: int, files: Mapping[str, bytes] | None = None) -> Path:
    """Writes a package that must not install."""
    _build(path, kb, ubr, files or {r"C:\lab\damaged.bin": bytes(range(256)) * 64}, reboot=True, leave_out=damage is Damage.MISSING_FILE)
    data = bytearray(path.read_bytes())
    match damage:
        case Damage.TRUNCATED:
            del data[len(data) // 2 :]
        case Damage.BIT_FLIPPED:
            data[len(data) // 2] ^= 0x10
        case Damage.NO_CABINET:
            data = bytearray(b"MZ" + bytes(4096))
        case Damage.MISSING_FILE:
            pass
    path.write_bytes(data)
    return path


def _build(path: Path, kb: str, ubr: int, files: Mapping[str, bytes], *, reboot: bool, leave_out: bool) -> Path:
    if not _KB.fullmatch(kb):
        raise ValueError(f"{kb!r} is no KB number")
    components = _components(kb, ubr, files, reboot=reboot)
    with tempfile.TemporaryDirectory(prefix="msu-") as name:
        inner, outer = Path(name, "inner"), Path(name, "outer")
        inner.mkdir()
        outer.mkdir()
        (inner / "update.mum").write_text(_package(kb, [component.name for component in components]), encoding="utf-8")
        for component in components:
            (inner / f"{component.name}.manifest").write_text(component.manifest, encoding="utf-8")
            if component.file and not leave_out:
                (inner / component.name).mkdir()
                (inner / component.name / component.file).write_bytes(component.content)
        _cabinet(outer / f"Windows10.0-{kb}-x64.cab", inner)
        (outer / f"Windows10.0-{kb}-x64.xml").write_text(_description(kb), encoding="utf-8")
        _cabinet(path.resolve(), outer)
    return path


@dataclass(frozen=True)
class _Component:
    """One manifest with at most one file."""

    name: str
    manifest: str
    file: str = ""
    content: bytes = b""


def _components(kb: str, ubr: int, files: Mapping[str, bytes], *, reboot: bool) -> list[_Component]:
    base = f"hotpatch.windows-lab-{kb.lower()}"
    staged: dict[str, str] = {}
    components: list[_Component] = []
    for index, (target, content) in enumerate(files.items()):
        name, folder = ntpath.basename(target), ntpath.dirname(target)
        if reboot:
            folder = rf"{STAGING}\{kb}\{index}"
            staged[rf"{folder}\{name}"] = target
        copied = f"<file name={quoteattr(name)} sourceName={quoteattr(name)} destinationPath={quoteattr(folder)}/>"
        components.append(_Component(f"{base}-file{index}", _manifest(f"{base}-file{index}", copied), name, content))
    level = {"UBR": str(ubr), "KB": kb, "Apply": "boot" if reboot else "now"}
    keys = _key(PENDING, level) + (_key(PENDING + r"\Files", staged) if staged else "")
    # Last: what the level says must be there before it.
    return [*components, _Component(f"{base}-level", _manifest(f"{base}-level", f"<registryKeys>{keys}</registryKeys>"))]


def _key(name: str, values: Mapping[str, str]) -> str:
    written = "".join(
        f'<registryValue name={quoteattr(key)} valueType="REG_SZ" value={quoteattr(value)}/>' for key, value in values.items()
    )
    return f"<registryKey keyName={quoteattr(name)}>{written}</registryKey>"


def _cabinet(path: Path, folder: Path) -> None:
    names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    result = subprocess.run(["gcab", "-c", str(path), *names], cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise LabError(f"gcab could not make {path}: {result.stderr.strip()} (apt-get install gcab)")


def _identity(name: str) -> str:
    attributes = {
        "name": name,
        "version": VERSION,
        "processorArchitecture": "amd64",
        "language": "neutral",
        "publicKeyToken": TOKEN,
    }
    return "<assemblyIdentity " + " ".join(f"{key}={quoteattr(value)}" for key, value in attributes.items()) + "/>"


def _package(kb: str, components: Sequence[str]) -> str:
    content = "".join(f"<component>{_identity(component)}</component>" for component in components)
    package = f'<package identifier="{kb}" releaseType="Update"><update name="{kb}">{content}</update></package>'
    return _manifest(f"Package_for_{kb}", package)


def _manifest(name: str, content: str) -> str:
    return f'{_DECLARATION}<assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0">{_identity(name)}{content}</assembly>'


def _description(kb: str) -> str:
    return (
        f'{_DECLARATION}<unattend xmlns="urn:schemas-microsoft-com:unattend"><servicing><package action="install">'
        f'{_identity(f"Package_for_{kb}")}<source location="%configsetroot%\\Windows10.0-{kb}-x64.cab"/>'
        "</package></servicing></unattend>\n"
    )
