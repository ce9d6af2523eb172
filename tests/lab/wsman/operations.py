# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does each WS-Management action do to a host's shells, and what is answered?"""

from __future__ import annotations

import base64
import binascii
import re
import time
import typing as t
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass

from lab.spec import HostSpec, User
from lab.wsman import faults
from lab.wsman.envelope import NAMESPACES, Request, build, seconds, tag
from lab.wsman.shells import Shell, Shells, signed

_TRANSFER = "http://schemas.xmlsoap.org/ws/2004/09/transfer/"
_ENUMERATION = "http://schemas.xmlsoap.org/ws/2004/09/enumeration/"
_SHELL = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
_CMD = _SHELL + "/cmd"
_CONFIG = "http://schemas.microsoft.com/wbem/wsman/1/config"
_SIGNAL = _SHELL + "/signal/"
_STATE = _SHELL + "/CommandState/"
_MORE = re.compile(r"((?:^|[&|(])\s*)more(?:\.com)?(?=[\s<>&|)]|$)", re.IGNORECASE)
CODE_PAGES = (0, 437, 850, 852, 866, 932, 936, 949, 950, 1250, 1251, 1252, 65001)
STREAMS = ("stdout", "stderr")
ENVELOPE_OVERHEAD = 3000
"""Bytes of an answer to Receive around its data: namespaces, header, elements of two streams and the state."""


@dataclass(frozen=True)
class Caller:
    """Who sends the request, and from where."""

    user: User
    address: str


class Operations:
    """Carries out requests that were authenticated."""

    def __init__(self, spec: HostSpec, shells: Shells) -> None:
        self._spec = spec
        self._shells = shells
        shell_actions: dict[str, Callable[[Request, Caller], tuple[str, str]]] = {
            _TRANSFER + "Create": self._create,
            _TRANSFER + "Delete": self._delete,
            _TRANSFER + "Get": self._get,
            _ENUMERATION + "Enumerate": self._enumerate,
            _SHELL + "/Command": self._command,
            _SHELL + "/Send": self._send,
            _SHELL + "/Receive": self._receive,
            _SHELL + "/Signal": self._signal,
        }
        self._resources: dict[str, dict[str, Callable[[Request, Caller], tuple[str, str]]]] = {
            _CMD: shell_actions,
            _SHELL: {_TRANSFER + "Get": self._get, _ENUMERATION + "Enumerate": self._enumerate},
            _CONFIG: {_TRANSFER + "Get": self._get_config},
        }

    def answer(self, request: Request, caller: Caller) -> bytes:
        """Carries a request out; raises Fault."""
        if request.is_identify:
            return build("", "", self._identify())
        if not caller.user.administrator:
            raise faults.access_denied()
        actions = self._resources.get(request.resource_uri)
        if actions is None:
            raise faults.unknown_resource(request.resource_uri)
        operation = actions.get(request.action)
        if operation is None:
            raise faults.unknown_action(request.action)
        action, body = operation(request, caller)
        return build(action, request.message_id, body)

    def _identify(self) -> str:
        return (
            "<wsmid:IdentifyResponse>"
            + tag("wsmid:ProtocolVersion", NAMESPACES["w"])
            + tag("wsmid:ProductVendor", "Microsoft Corporation")
            + tag("wsmid:ProductVersion", f"OS: 10.0.{self._spec.build} SP: 0.0 Stack: 3.0")
            + "</wsmid:IdentifyResponse>"
        )

    # -- shells --------------------------------------------------------------------------------------------------------------

    def _create(self, request: Request, caller: Caller) -> tuple[str, str]:
        wanted = request.body.find("rsp:Shell", NAMESPACES)
        if wanted is None:
            raise faults.invalid_message("Create needs rsp:Shell. ")
        given = wanted.get("ShellId")
        idle = seconds(_text(wanted, "IdleTimeOut") or _text(wanted, "IdleTimeout"), self._spec.quotas.idle_timeout_s)
        shell = Shell(
            id=(given or str(uuid.uuid4())).upper(),
            owner=caller.user,
            client=caller.address,
            folder=_text(wanted, "WorkingDirectory") or "%USERPROFILE%",
            environment=_variables(wanted),
            input_streams=_text(wanted, "InputStreams") or "stdin",
            output_streams=_text(wanted, "OutputStreams") or "stdout stderr",
            idle_timeout=min(idle, self._spec.quotas.idle_timeout_s),
            code_page=_code_page(request.options.get("WINRS_CODEPAGE", "0")),
        )
        self._shells.create(shell)
        reference = (
            f"<x:ResourceCreated>{tag('a:Address', 'http://localhost/wsman')}<a:ReferenceParameters>{tag('w:ResourceURI', _CMD)}"
            f"<w:SelectorSet>{tag('w:Selector', shell.id, Name='ShellId')}</w:SelectorSet></a:ReferenceParameters></x:ResourceCreated>"
        )
        return _TRANSFER + "CreateResponse", reference + self._describe(shell)

    def _describe(self, shell: Shell) -> str:
        now = time.monotonic()
        return (
            "<rsp:Shell>"
            + tag("rsp:ShellId", shell.id)
            + tag("rsp:ResourceUri", _CMD)
            + tag("rsp:Owner", f"{self._spec.name.upper()}\\{shell.owner.name}")
            + tag("rsp:ClientIP", shell.client)
            + tag("rsp:IdleTimeOut", f"PT{shell.idle_timeout:.3f}S")
            + tag("rsp:InputStreams", shell.input_streams)
            + tag("rsp:OutputStreams", shell.output_streams)
            + tag("rsp:ShellRunTime", _duration(now - shell.created))
            + tag("rsp:ShellInactivity", _duration(now - shell.used))
            + "</rsp:Shell>"
        )

    def _shell(self, request: Request, caller: Caller) -> Shell:
        return self._shells.get(request.selectors.get("ShellId", ""), caller.user)

    def _delete(self, request: Request, caller: Caller) -> tuple[str, str]:
        self._shells.delete(request.selectors.get("ShellId", ""), caller.user)
        return _TRANSFER + "DeleteResponse", ""

    def _get(self, request: Request, caller: Caller) -> tuple[str, str]:
        return _TRANSFER + "GetResponse", self._describe(self._shell(request, caller))

    def _enumerate(self, request: Request, caller: Caller) -> tuple[str, str]:
        """Everything in one answer (wsman optimised enumeration): a user has at most MaxShellsPerUser shells."""
        del request
        items = "".join(self._describe(shell) for shell in self._shells.all(caller.user))
        body = f"<n:EnumerateResponse><n:EnumerationContext/><w:Items>{items}</w:Items><w:EndOfSequence/></n:EnumerateResponse>"
        return _ENUMERATION + "EnumerateResponse", body

    def _get_config(self, request: Request, caller: Caller) -> tuple[str, str]:
        del request, caller
        quotas = self._spec.quotas
        winrs = (
            tag("cfg:AllowRemoteShellAccess", "true")
            + tag("cfg:IdleTimeout", str(int(quotas.idle_timeout_s * 1000)))
            + tag("cfg:MaxProcessesPerShell", str(quotas.max_processes_per_shell))
            + tag("cfg:MaxShellsPerUser", str(quotas.max_shells_per_user))
        )
        body = (
            f"<cfg:Config>{tag('cfg:MaxEnvelopeSizekb', str(quotas.max_envelope_bytes // 1024))}"
            f"{tag('cfg:MaxTimeoutms', str(int(quotas.max_timeout_s * 1000)))}<cfg:Winrs>{winrs}</cfg:Winrs></cfg:Config>"
        )
        return _TRANSFER + "GetResponse", body

    # -- commands ------------------------------------------------------------------------------------------------------------

    def _command(self, request: Request, caller: Caller) -> tuple[str, str]:
        shell = self._shell(request, caller)
        line = request.body.find("rsp:CommandLine", NAMESPACES)
        program = "" if line is None else _text(line, "Command")
        if line is None or not program:
            raise faults.invalid_message("Command needs rsp:CommandLine with rsp:Command. ")
        arguments = [element.text or "" for element in line.iterfind("rsp:Arguments", NAMESPACES)]
        direct = request.options.get("WINRS_SKIP_CMD_SHELL", "FALSE").upper() in ("TRUE", "1")
        command_line = " ".join([program, *arguments])
        if not direct:
            command_line = f'C:\\windows\\system32\\cmd.exe /c "{_without_builtin_more(command_line)}"'
        command = self._shells.run(shell, command_line, self._timeout(request))
        return _SHELL + "/CommandResponse", f"<rsp:CommandResponse>{tag('rsp:CommandId', command.id)}</rsp:CommandResponse>"

    def _timeout(self, request: Request) -> float:
        return min(request.operation_timeout, self._spec.quotas.max_timeout_s)

    def _send(self, request: Request, caller: Caller) -> tuple[str, str]:
        shell = self._shell(request, caller)
        for stream in request.body.iterfind("rsp:Send/rsp:Stream", NAMESPACES):
            if stream.get("Name") != "stdin":
                raise faults.invalid_message(f"There is no input stream {stream.get('Name')}. ")
            try:
                data = base64.b64decode(stream.text or "", validate=False)
            except binascii.Error:
                raise faults.invalid_message("A stream is not base64. ") from None
            end = stream.get("End", "false").lower() in ("true", "1")
            shell.command(stream.get("CommandId", "")).send(data, end=end, timeout=self._timeout(request))
        return _SHELL + "/SendResponse", "<rsp:SendResponse/>"

    def _receive(self, request: Request, caller: Caller) -> tuple[str, str]:
        shell = self._shell(request, caller)
        wanted = request.body.find("rsp:Receive/rsp:DesiredStream", NAMESPACES)
        if wanted is None:
            raise faults.invalid_message("Receive needs rsp:DesiredStream. ")
        names = (wanted.text or "").split()
        if not names or not set(names) <= set(STREAMS):
            raise faults.invalid_message(f"There is no output stream {wanted.text!r}. ")
        command_id = wanted.get("CommandId", "")
        command = shell.command(command_id)
        room = min(request.max_envelope, self._spec.quotas.max_envelope_bytes) - ENVELOPE_OVERHEAD
        output = command.receive(names, max(room, 4096) // 4 * 3, self._timeout(request))
        body = "".join(_stream(name, command_id, data) for name, data in output.streams)
        if output.exit_code is None:
            state = f'<rsp:CommandState CommandId="{command_id}" State="{_STATE}Running"/>'
        else:
            body += "".join(f'<rsp:Stream Name="{name}" CommandId="{command_id}" End="true"/>' for name in names)
            exit_code = tag("rsp:ExitCode", str(signed(output.exit_code)))
            state = f'<rsp:CommandState CommandId="{command_id}" State="{_STATE}Done">{exit_code}</rsp:CommandState>'
        return _SHELL + "/ReceiveResponse", f"<rsp:ReceiveResponse>{body}{state}</rsp:ReceiveResponse>"

    def _signal(self, request: Request, caller: Caller) -> tuple[str, str]:
        shell = self._shell(request, caller)
        signal = request.body.find("rsp:Signal", NAMESPACES)
        if signal is None:
            raise faults.invalid_message("Signal needs rsp:Signal. ")
        command = shell.command(signal.get("CommandId", ""))
        match _text(signal, "Code").removeprefix(_SIGNAL).lower():
            case "terminate":
                shell.commands.pop(command.id, None)
                command.kill()
            case "ctrl_c" | "ctrl_break":
                self._shells.control_c(command)
            case unknown:
                raise faults.invalid_message(f"There is no signal {unknown}. ")
        return _SHELL + "/SignalResponse", "<rsp:SignalResponse/>"


def _code_page(text: str) -> int:
    if not text.isdigit() or int(text) not in CODE_PAGES:
        raise faults.code_page_not_supported()
    return int(text)


def _without_builtin_more(command_line: str) -> str:
    """Wine's cmd has ``more`` built in and pages even into a file; Windows' cmd starts more.com, and so does the lab's host."""
    return _MORE.sub(r"\1C:\\windows\\system32\\more.com", command_line)


def _text(element: ET.Element, name: str) -> str:
    return (element.findtext(f"rsp:{name}", "", NAMESPACES) or "").strip()


def _variables(shell: ET.Element) -> dict[str, str]:
    found: t.Iterable[ET.Element] = shell.iterfind("rsp:Environment/rsp:Variable", NAMESPACES)
    return {variable.get("Name", ""): variable.text or "" for variable in found if variable.get("Name")}


def _stream(name: str, command_id: str, data: bytes) -> str:
    return f'<rsp:Stream Name="{name}" CommandId="{command_id}">{base64.b64encode(data).decode()}</rsp:Stream>'


def _duration(value: float) -> str:
    whole = int(value)
    return f"P{whole // 86400}DT{whole // 3600 % 24}H{whole // 60 % 60}M{whole % 60}S"
