# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults and quotas are those of Windows: code, kind and wording, for clients act on them."""

from __future__ import annotations

import uuid

import pytest
import requests
from pypsrp.exceptions import WinRMTransportError, WSManFaultError
from pypsrp.shell import Process, WinRS
from pypsrp.wsman import NAMESPACES, SelectorSet, WSManAction

from lab import Host
from lab.pytest_plugin import MakeHost
from lab.spec import Quotas

from .conftest import connect, shell_on

CMD = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/cmd"
UNKNOWN = 2150858843


def test_a_user_who_is_no_administrator_is_denied(shared_host: Host) -> None:
    plain = connect(shared_host, auth="ntlm", user=shared_host.plain_user, password=shared_host.plain_password)
    with plain as wsman, pytest.raises(WSManFaultError) as error:
        WinRS(wsman).open()
    assert (error.value.code, error.value.reason) == (5, "Access is denied.")


def test_a_shell_that_does_not_exist_is_named(shared_host: Host) -> None:
    with connect(shared_host) as wsman:
        shell = WinRS(wsman)
        shell._selector_set = SelectorSet()
        unknown = str(uuid.uuid4()).upper()
        shell._selector_set.add_option("ShellId", unknown)
        with pytest.raises(WSManFaultError) as error:
            shell.command("cmd.exe", ["/c", "ver"])
    assert error.value.code == UNKNOWN
    assert unknown in error.value.reason
    assert "shell was not found on the server" in error.value.reason


def test_a_command_that_does_not_exist_is_told(shared_host: Host) -> None:
    with shell_on(shared_host) as shell, pytest.raises(WSManFaultError) as error:
        shell.receive("stdout", str(uuid.uuid4()))
    assert error.value.code == UNKNOWN
    assert "command identifier that does not exist" in error.value.reason


def test_a_shell_belongs_to_its_user(make_host: MakeHost) -> None:
    host = make_host()
    with shell_on(host) as shell, connect(host, user=host.plain_user, password=host.plain_password) as other:
        stolen = WinRS(other)
        stolen._selector_set = shell._selector_set
        with pytest.raises(WSManFaultError) as error:
            stolen.command("cmd.exe", ["/c", "ver"])
        assert error.value.code == 5


def test_an_unknown_resource_is_told(shared_host: Host) -> None:
    with connect(shared_host) as wsman, pytest.raises(WSManFaultError) as error:
        wsman.get("http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/Win32_OperatingSystem")
    assert error.value.code == 2150858752


def test_an_unknown_action_is_told(shared_host: Host) -> None:
    with connect(shared_host) as wsman, pytest.raises(WSManFaultError) as error:
        wsman.invoke(WSManAction.PUT, CMD, None)
    assert error.value.code == 2150858753


def test_a_message_that_is_no_soap_is_told(shared_host: Host) -> None:
    url = f"http://{shared_host.address}:{shared_host.http_port}/wsman"
    for body in (b"no xml", b"<a/>", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'):
        response = requests.post(url, data=body, auth=(shared_host.user, shared_host.password), timeout=120)
        assert response.status_code == 500
        assert "w:SchemaValidationError" in response.text


def test_a_message_above_the_envelope_limit_is_refused(make_host: MakeHost) -> None:
    host = make_host(quotas=Quotas(max_envelope_bytes=100 * 1024))
    with shell_on(host) as shell:
        process = Process(shell, r"C:\windows\system32\more.com")
        process.begin_invoke()
        with pytest.raises(WinRMTransportError) as error:
            process.send(bytes(100 * 1024), end=True)
        assert error.value.code == 413
        process.send(b"still here", end=True)
        process.end_invoke()
        assert process.stdout.strip() == b"still here"


def test_an_answer_keeps_to_the_clients_envelope_limit(shared_host: Host) -> None:
    content = b"0123456789abcdef\r\n" * 20_000
    shared_host.path(r"C:\large.txt").write_bytes(content)
    with connect(shared_host) as wsman:
        wsman.max_envelope_size = 20_000
        with WinRS(wsman) as shell:
            before = shared_host.requests
            process = Process(shell, r"type C:\large.txt")
            process.invoke()
            after = shared_host.requests
    assert process.stdout == content
    assert after.sent_bytes - before.sent_bytes <= 20_000 * (after.messages - before.messages)


def test_the_limit_can_be_asked_for(make_host: MakeHost) -> None:
    host = make_host(quotas=Quotas(max_envelope_bytes=8192 * 1024))
    with connect(host) as wsman:
        wsman.update_max_payload_size()
        assert wsman.max_envelope_size == 8192 * 1024


def test_a_user_has_only_so_many_shells(make_host: MakeHost) -> None:
    host = make_host(quotas=Quotas(max_shells_per_user=2))
    with shell_on(host), shell_on(host), connect(host) as wsman:
        third = WinRS(wsman)
        with pytest.raises(WSManFaultError) as error:
            third.open()
        assert error.value.code == 2150859173
        assert "maximum number of 2 concurrent shells" in error.value.reason
    with shell_on(host):
        pass


def test_a_shell_has_only_so_many_commands(make_host: MakeHost) -> None:
    host = make_host(quotas=Quotas(max_processes_per_shell=2))
    more = r"C:\windows\system32\more.com"
    with shell_on(host) as shell:
        running = [Process(shell, more) for _ in range(2)]
        for process in running:
            process.begin_invoke()
        with pytest.raises(WSManFaultError) as error:
            Process(shell, more).begin_invoke()
        assert error.value.code == 2150859241
        for process in running:
            process.send(b"", end=True)
            process.end_invoke()
        Process(shell, "ver").invoke()


def test_open_shells_can_be_listed(make_host: MakeHost) -> None:
    host = make_host()
    with shell_on(host) as first, shell_on(host) as second:
        body = first.wsman.enumerate("http://schemas.microsoft.com/wbem/wsman/1/windows/shell")
        listed = {element.text for element in body.iterfind(".//rsp:ShellId", NAMESPACES)}
        assert listed == {first.id, second.id}
        assert first._get_shell()["ShellId"] == first.id
