# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds, signs, verifies and explains payloads, on the controller."""

from __future__ import annotations

import importlib
import time
import typing as t
from pathlib import Path
from types import ModuleType

from ansible_collections.hotpatch.windows.plugins.plugin_utils._action import Arguments, DocumentedAction, Result
from ansible_collections.hotpatch.windows.plugins.plugin_utils._docs import Rules
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError
from ansible_collections.hotpatch.windows.plugins.plugin_utils._payload import files

_KEY_OPTIONS = ("key", "key_content")


def _builder() -> ModuleType:
    """The part that needs the libraries for modules and machine code, which only building needs."""
    try:
        return importlib.import_module("ansible_collections.hotpatch.windows.plugins.plugin_utils._payload.task")
    except ImportError as error:
        raise HotpatchError("argument_invalid", f"Building needs the Python library '{error.name}' on the controller.", "state") from error


class ActionModule(DocumentedAction):
    """``hotpatch.windows.payload``"""

    _requires_connection = False
    rules = Rules(
        mutually_exclusive=[_KEY_OPTIONS, ("old", "src"), ("new", "src")],
        required_if=[
            ("state", "built", ("old", "new", "dest", "id", "expires")),
            ("state", "signed", ("src", "dest")),
            ("state", "signed", _KEY_OPTIONS, True),
            ("state", "verified", ("src", "trusted_keys")),
            ("state", "explained", ("src",)),
        ],
        no_log=frozenset({"key_content", "key_passphrase"}),
    )

    def work(self, arguments: Arguments) -> Result:
        """Each state has its own method."""
        steps: dict[str, t.Callable[[Arguments], Result]] = {
            "built": self._build,
            "signed": self._sign,
            "verified": self._verify,
            "explained": self._explain,
        }
        return steps[arguments["state"]](arguments)

    def _build(self, arguments: Arguments) -> Result:
        task = _builder()
        old, new = self._path(arguments, "old"), self._path(arguments, "new")
        dest = Path(arguments["dest"])
        before = files.load_if_there(dest)
        meta = task.meta_of(arguments, old.name, int(time.time()) if before is None else before.payload.created)
        try:
            built = task.build_from(old, new, meta)
            if before is not None and before.payload != built.payload:
                built = task.build_from(old, new, task.meta_of(arguments, old.name, int(time.time())))
        except HotpatchError as error:
            if arguments["on_refusal"] == "report" and error.code.startswith("build_"):
                return {"changed": False, "refusals": error.details.get("refusals", [error.as_dict()])}
            raise
        result = self._write(arguments, dest, built.content, before)
        return {**result, "explanation": built.explanation}

    def _sign(self, arguments: Arguments) -> Result:
        source = files.load(self._path(arguments, "src"))
        dest = Path(arguments["dest"])
        return self._write(arguments, dest, source.content, files.load_if_there(dest))

    def _write(self, arguments: Arguments, dest: Path, content: bytes, before: files.PayloadFile | None) -> Result:
        """Signs the content if there is a key, and writes it if that makes a difference."""
        key = self._key(arguments)
        passphrase = arguments["key_passphrase"].encode() if arguments["key_passphrase"] else None
        after = files.make(dest, content, key, passphrase)
        changed = before is None or before.data != after.data
        if changed and not self.check_mode:
            files.write(dest, after.data)
        result: Result = {"changed": changed, "payload": after.describe(), "explanation": after.explanation}
        if key is not None:
            result["public_key"] = files.public_key_text(key, passphrase)
        return self.with_diff(result, before.outline if before else {}, after.outline)

    def _key(self, arguments: Arguments) -> bytes | None:
        if arguments["key_content"]:
            return str(arguments["key_content"]).encode()
        return files.read(self._path(arguments, "key")) if arguments["key"] else None

    def _verify(self, arguments: Arguments) -> Result:
        source = files.load(self._path(arguments, "src"))
        files.verify(source, arguments, int(time.time()))
        return {"changed": False, "payload": source.describe(), "explanation": source.explanation}

    def _explain(self, arguments: Arguments) -> Result:
        source = files.load(self._path(arguments, "src"))
        return {"changed": False, "payload": source.describe(), "explanation": source.explanation}

    def _path(self, arguments: Arguments, option: str) -> Path:
        """A file of the controller; :class:`HotpatchError` ``file_missing`` when there is none."""
        try:
            return self.find_file(arguments[option], option)
        except HotpatchError as error:
            raise HotpatchError("file_missing", error.message, where=option) from error
