# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does a request say, and how is an answer written? SOAP 1.2 with WS-Addressing as WS-Management uses them."""

from __future__ import annotations

import re
import typing as t
import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

NAMESPACES: t.Final = {
    "s": "http://www.w3.org/2003/05/soap-envelope",
    "a": "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "w": "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd",
    "p": "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd",
    "x": "http://schemas.xmlsoap.org/ws/2004/09/transfer",
    "n": "http://schemas.xmlsoap.org/ws/2004/09/enumeration",
    "rsp": "http://schemas.microsoft.com/wbem/wsman/1/windows/shell",
    "cfg": "http://schemas.microsoft.com/wbem/wsman/1/config",
    "f": "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault",
    "wsmid": "http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd",
}
ANONYMOUS = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous"
_DURATION = re.compile(r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?")
DEFAULT_ENVELOPE = 153600
DEFAULT_TIMEOUT_S = 60.0


class MalformedError(Exception):
    """The body is no SOAP message."""


@dataclass(frozen=True)
class Request:
    """The parts of a WS-Management request that decide what is done."""

    action: str
    resource_uri: str
    message_id: str
    body: ET.Element
    operation_timeout: float = DEFAULT_TIMEOUT_S
    max_envelope: int = DEFAULT_ENVELOPE
    selectors: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)

    @property
    def is_identify(self) -> bool:
        """Whether it asks who the service is; such a message has no addressing headers."""
        return self.body.find("wsmid:Identify", NAMESPACES) is not None


def parse(data: bytes) -> Request:
    """Reads a request; raises MalformedError."""
    # A document type could make the parser expand entities without end; SOAP forbids one.
    if b"<!DOCTYPE" in data:
        raise MalformedError("a SOAP message has no document type")
    try:
        root = ET.fromstring(data)
    except ET.ParseError as error:
        raise MalformedError(str(error)) from None
    body = root.find("s:Body", NAMESPACES)
    if root.tag != f"{{{NAMESPACES['s']}}}Envelope" or body is None:
        raise MalformedError("no SOAP envelope with a body")
    return Request(
        action=_header(root, "a:Action"),
        resource_uri=_header(root, "w:ResourceURI"),
        message_id=_header(root, "a:MessageID"),
        body=body,
        operation_timeout=seconds(_header(root, "w:OperationTimeout"), DEFAULT_TIMEOUT_S),
        max_envelope=int(_header(root, "w:MaxEnvelopeSize") or DEFAULT_ENVELOPE),
        selectors=_named(root, "w:SelectorSet/w:Selector"),
        options=_named(root, "w:OptionSet/w:Option"),
    )


def _header(root: ET.Element, path: str) -> str:
    return (root.findtext(f"s:Header/{path}", "", NAMESPACES) or "").strip()


def _named(root: ET.Element, path: str) -> dict[str, str]:
    return {element.get("Name", ""): (element.text or "") for element in root.iterfind(f"s:Header/{path}", NAMESPACES)}


def seconds(duration: str, default: float) -> float:
    """An xs:duration such as PT60.000S in seconds."""
    match = _DURATION.fullmatch(duration)
    if not match or not any(match.groups()):
        return default
    days, hours, minutes, rest = (float(group or 0) for group in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + rest


def tag(name: str, text: str = "", **attributes: str) -> str:
    """One element with escaped text."""
    written = "".join(f" {key}={quoteattr(value)}" for key, value in attributes.items())
    return f"<{name}{written}>{escape(text)}</{name}>"


def build(action: str, relates_to: str, body: str) -> bytes:
    """Writes an answer around ``body``, which is XML that uses the prefixes of NAMESPACES."""
    declarations = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    header = (
        tag("a:Action", action)
        + tag("a:MessageID", f"uuid:{str(uuid.uuid4()).upper()}")
        + tag("a:To", ANONYMOUS)
        + tag("a:RelatesTo", relates_to)
    )
    return f'<s:Envelope xml:lang="en-US" {declarations}><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>'.encode()
