# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which faults does Windows answer with, and what do they look like on the wire?

The codes are those of wsmerror.h; texts and shapes follow what Windows Server sends, because clients compare them.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

from lab.wsman.envelope import build, tag

_FAULT = "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault"
_ADDRESSING_FAULT = "http://schemas.xmlsoap.org/ws/2004/08/addressing/fault"
_DETAIL = "http://schemas.dmtf.org/wbem/wsman/1/wsman/faultDetail/"

TIMED_OUT = 0x80338029
INVALID_SELECTORS = 0x8033805B
RESOURCE_NOT_FOUND = 0x80338000
INVALID_ACTION = 0x80338001
SCHEMA_VALIDATION = 0x80338041
MAX_SHELLS = 0x803381A5
MAX_COMMANDS = 0x803381E9
CODE_PAGE = 0x80338140
ACCESS_DENIED = 5
BROKEN_PIPE = 109


@dataclass
class Fault(Exception):
    """A fault to be sent instead of an answer."""

    subcode: str
    code: int
    reason: str
    message: str
    sender: bool = True
    detail: str | None = None

    def write(self, relates_to: str, machine: str) -> bytes:
        """The whole message."""
        value = "s:Sender" if self.sender else "s:Receiver"
        detail = "" if self.detail is None else tag("w:FaultDetail", _DETAIL + self.detail)
        body = (
            f"<s:Fault><s:Code>{tag('s:Value', value)}<s:Subcode>{tag('s:Value', self.subcode)}</s:Subcode></s:Code>"
            f'<s:Reason><s:Text xml:lang="en-US">{escape(self.reason)}</s:Text></s:Reason><s:Detail>{detail}'
            f'<f:WSManFault Code="{self.code}" Machine="{machine}">{tag("f:Message", self.message)}</f:WSManFault></s:Detail></s:Fault>'
        )
        action = _ADDRESSING_FAULT if self.subcode.startswith("a:") else _FAULT
        return build(action, relates_to, body)


def timed_out() -> Fault:
    """Nothing to say within OperationTimeout; the client asks again."""
    text = "The WS-Management service cannot complete the operation within the time specified in OperationTimeout.  "
    return Fault("w:TimedOut", TIMED_OUT, text, text, sender=False, detail="OperationTimeout")


_SELECTORS = "The WS-Management service cannot process the request because the request contained invalid selectors for the resource. "


def unknown_shell(shell_id: str) -> Fault:
    """No such shell: never made, deleted, timed out, or gone with a reboot."""
    message = (
        f"The request for the Windows Remote Shell with ShellId {shell_id} failed because the shell was not found on the server. "
        "Possible causes are: the specified ShellId is incorrect or the shell no longer exists on the server. "
        "Provide the correct ShellId or create a new shell and retry the operation. "
    )
    return Fault("w:InvalidSelectors", INVALID_SELECTORS, _SELECTORS, message, detail="UnexpectedSelectors")


def unknown_command() -> Fault:
    """No such command in the shell."""
    message = (
        "The Windows Remote Shell received a request to perform an operation on a command identifier that does not exist. "
        "Either the command has completed execution or the client specified an invalid command identifier. "
    )
    return Fault("w:InvalidSelectors", INVALID_SELECTORS, _SELECTORS, message, detail="UnexpectedSelectors")


def unknown_resource(uri: str) -> Fault:
    """A resource URI that nothing serves."""
    text = (
        "The WS-Management service cannot process the request. "
        "The service cannot find the resource identified by the resource URI and selectors. "
    )
    return Fault("a:DestinationUnreachable", RESOURCE_NOT_FOUND, text, f"{text}({uri})", detail="InvalidResourceURI")


def unknown_action(action: str) -> Fault:
    """An action that the resource does not have."""
    text = f"The action {action} is not supported by the service. "
    return Fault("a:ActionNotSupported", INVALID_ACTION, text, text)


def invalid_message(reason: str) -> Fault:
    """A message that breaks the schema."""
    text = "The SOAP packet did not match the corresponding XML schema definition. "
    return Fault("w:SchemaValidationError", SCHEMA_VALIDATION, text, f"{text}{reason}")


def too_many_shells(limit: int) -> Fault:
    """MaxShellsPerUser."""
    text = (
        f"The WS-Management service cannot process the request. This user is allowed a maximum number of {limit} concurrent shells, "
        "which has been exceeded. Close existing shells or raise the quota for this user. "
    )
    return Fault("w:QuotaLimit", MAX_SHELLS, "The service cannot comply with the request because it exceeds a quota limit. ", text)


def too_many_commands(limit: int) -> Fault:
    """MaxProcessesPerShell."""
    text = (
        f"The WS-Management service cannot process the request. The shell is allowed a maximum number of {limit} concurrent commands, "
        "which has been exceeded. Close existing commands or raise the quota. "
    )
    return Fault("w:QuotaLimit", MAX_COMMANDS, "The service cannot comply with the request because it exceeds a quota limit. ", text)


def code_page_not_supported() -> Fault:
    """WINRS_CODEPAGE names one that the server does not have."""
    text = "The WinRS client cannot process the request. The server cannot set Code Page. "
    return Fault("w:InvalidOptions", CODE_PAGE, text, text)


def access_denied() -> Fault:
    """The user is known and may not."""
    return Fault("w:AccessDenied", ACCESS_DENIED, "Access is denied. ", "Access is denied. ")


def win32(code: int, text: str) -> Fault:
    """An operation of Windows itself failed."""
    return Fault("w:InternalError", code, text, text, sender=False)
