# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Where do catalogs come from? Files, the shipped snapshot, the feed: the input and output around the pure decision."""

from __future__ import annotations

import functools
import io
import lzma
import os
import pathlib
import typing as t
from collections.abc import Sequence

import yaml

from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.catalog import Catalog, Source
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.feed import read_catalog
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.feed_document import parse_feed
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.model import PRODUCTS
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

SNAPSHOT: t.Final = pathlib.Path(__file__).parent / "_decision" / "snapshot.json"

DEFAULT_PRODUCTS: t.Final = tuple(product.key for product in PRODUCTS.values() if product.hotpatch)

MAX_DOCUMENT: t.Final = 64 * 1024 * 1024
"""Bytes of one document, unpacked. Monthly documents of 2024 to 2026 have 1.5 to 4.2 MB."""


@functools.cache
def shipped_catalog() -> Catalog:
    """The snapshot that the collection ships; read once, since a play asks for every host."""
    return load_catalog(SNAPSHOT)


def write_catalog(path: pathlib.Path, text: str) -> None:
    """Write a catalog's text so that readers see the old or the new file, never a part; raises HotpatchError ``file_unwritable``."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="ascii")
        temporary.replace(path)
    except OSError as problem:
        temporary.unlink(missing_ok=True)
        raise HotpatchError("file_unwritable", message=f"{path} cannot be written: {problem.strerror}.", where=str(path)) from problem


def load_catalog(path: str | pathlib.Path) -> Catalog:
    """A catalog or own list from a JSON or YAML file.

    Raises HotpatchError ``file_missing`` or ``catalog_malformed``.
    """
    data = _read(pathlib.Path(path))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise HotpatchError("catalog_malformed", message=f"Not UTF-8 text: {problem}.", where=str(path)) from problem
    if text.lstrip().startswith("{"):
        return Catalog.from_json(text, str(path))
    try:
        return Catalog.from_dict(yaml.safe_load(text), str(path))
    except yaml.YAMLError as problem:
        raise HotpatchError("catalog_malformed", message=f"Not valid YAML: {problem}.", where=str(path)) from problem


def load_own_list(path: str | pathlib.Path) -> Catalog:
    """An own list, which becomes a source of its own in the catalog."""
    catalog = load_catalog(path)
    name = pathlib.Path(path).name
    return Catalog(
        catalog.schema, catalog.date, (Source("own_list", name, catalog.date),), catalog.products, catalog.packages, catalog.fixes
    )


def read_feed_file(path: str | pathlib.Path, products: Sequence[str] = DEFAULT_PRODUCTS) -> Catalog:
    """A month of the feed from a file: XML or JSON, plain or xz-compressed."""
    return read_feed(_read(pathlib.Path(path)), products, where=str(path))


def read_feed(data: bytes, products: Sequence[str] = DEFAULT_PRODUCTS, *, where: str) -> Catalog:
    """A month of the feed from the bytes of its document."""
    return read_catalog(parse_feed(_unpacked(data, where), where), products)


def _read(path: pathlib.Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_DOCUMENT + 1)
    except OSError as problem:
        raise HotpatchError("file_missing", message=f"{path} cannot be read: {problem.strerror}.", where=str(path)) from problem
    return _bounded(data, str(path))


def _unpacked(data: bytes, where: str) -> bytes:
    if not data.startswith(b"\xfd7zXZ\x00"):
        return data
    try:
        with lzma.open(io.BytesIO(data)) as stream:
            return _bounded(stream.read(MAX_DOCUMENT + 1), where)
    except (lzma.LZMAError, EOFError) as problem:
        raise HotpatchError("catalog_malformed", message=f"Damaged xz data: {problem}.", where=where) from problem


def _bounded(data: bytes, where: str) -> bytes:
    if len(data) > MAX_DOCUMENT:
        raise HotpatchError("catalog_malformed", message=f"The document is larger than {MAX_DOCUMENT} bytes.", where=where)
    return data
