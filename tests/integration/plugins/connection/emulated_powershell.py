# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PowerShell connection to a host that has no PowerShell: what ansible-core sends is understood here, and done on a lab host.

It knows two things ansible-core sends: the script that makes a temporary folder, and the wrapper around a PowerShell module, of which
only ``agent_call`` is known. So it exercises the collection's side of psrp, winrm and ssh, and not one line of PowerShell.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import shutil
import typing as t
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.connection import ConnectionBase

from lab.host import Host

DOCUMENTATION = """
name: emulated_powershell
short_description: Understand what ansible-core sends to PowerShell
author: hotpatch.windows contributors
description: For tests.
options:
  folder:
    description: The folder of the lab's host.
    type: path
    vars:
      - name: emulated_powershell_folder
  remote_tmp:
    description: The folder for temporary folders.
    type: str
    default: C:\\\\lab\\\\tmp
"""

_SEPARATOR: t.Final = b"\n\0\0\0\0\n"
_SERVICE: t.Final = r"HKLM\SYSTEM\CurrentControlSet\Services\hotpatch-agent"


class Connection(ConnectionBase):
    """One lab host."""

    transport = "emulated_powershell"
    module_implementation_preferences = (".ps1", ".exe", "")
    allow_executable = False
    has_pipelining = True

    def __init__(self, *args: t.Any, **kwargs: t.Any) -> None:
        self._shell_type = "powershell"
        self.always_pipeline_modules = True
        super().__init__(*args, **kwargs)

    def is_pipelining_enabled(self, wrap_async: bool = False) -> bool:
        """Always, as with PowerShell."""
        del wrap_async
        return True

    @property
    def _host(self) -> Host:
        return Host(Path(self.get_option("folder")))

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Answer as the host's PowerShell would."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        text = (in_data or b"").decode("utf-8", "replace")
        if "agent_call" in text:
            return 0, json.dumps(self._agent_call(_arguments(in_data or b""))).encode(), b""
        if "mkdtemp" in text:
            folder = rf"C:\lab\tmp\ansible-tmp-{secrets.token_hex(4)}"
            self._host.path(folder).mkdir(parents=True)
            return 0, folder.encode(), b""
        removed = re.search(r"C:\\lab\\tmp\\ansible-tmp-[0-9a-f]{8}", text + _decoded(cmd))
        if removed:
            shutil.rmtree(self._host.path(removed[0]), ignore_errors=True)
            return 0, b"", b""
        raise AnsibleError(f"this is not emulated: {cmd[:200]} {text[:200]}")

    def _agent_call(self, arguments: dict[str, t.Any]) -> dict[str, t.Any]:
        path = arguments["path"].replace("%ProgramData%", r"C:\ProgramData")
        if not self._host.path(path).is_file():
            image = self._host.registry_get(_SERVICE, "ImagePath")
            return {"changed": False, "missing": True, "service_image": str(image or "")}
        done = self._host.run([path, *arguments["arguments"]], stdin=arguments["request"].encode("ascii"), timeout=120)
        return {
            "changed": False,
            "missing": False,
            "agent_exit_code": done.returncode,
            "stdout": done.stdout.decode("ascii"),
            "stderr": done.stderr.decode("utf-8", "replace"),
        }

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy to the host's drive."""
        super().put_file(in_path, out_path)
        shutil.copyfile(in_path, self._host.path(self._shell._unquote(out_path)))

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy from the host's drive."""
        super().fetch_file(in_path, out_path)
        shutil.copyfile(self._host.path(self._shell._unquote(in_path)), out_path)

    def close(self) -> None:
        """Nothing is open."""
        self._connected = False


def _arguments(in_data: bytes) -> dict[str, t.Any]:
    """The module's arguments, out of the wrapper's parameters."""
    for part in in_data.split(_SEPARATOR):
        found = _find(json.loads(part)) if part.strip().startswith(b"{") else None
        if found is not None:
            return found
    raise AnsibleError("the module's arguments are not where they were in ansible-core 2.19")


def _find(value: t.Any) -> dict[str, t.Any] | None:
    if isinstance(value, dict):
        if {"path", "request"} <= set(value):
            return value
        value = list(value.values())
    if isinstance(value, list):
        return next((found for item in value if (found := _find(item)) is not None), None)
    return None


def _decoded(cmd: str) -> str:
    found = re.search(r"-EncodedCommand (\S+)", cmd)
    return base64.b64decode(found[1]).decode("utf-16-le") if found else ""
