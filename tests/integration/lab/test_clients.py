# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients that nobody here wrote, pywinrm and pypsrp, talk to a host as they do to Windows."""

from __future__ import annotations

import pytest
import requests
import winrm
from pypsrp.exceptions import AuthenticationError
from pypsrp.shell import Process, SignalCode, WinRS
from winrm.exceptions import InvalidCredentialsError

from lab import Host

from .conftest import connect

SCHEMES = pytest.mark.parametrize("ssl", [False, True], ids=["http", "https"])
IDENTIFY = """<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
 xmlns:wsmid="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"><s:Header/><s:Body><wsmid:Identify/></s:Body></s:Envelope>"""


def pywinrm_session(host: Host, ssl: bool, transport: str, password: str | None = None) -> winrm.Session:
    scheme, port = ("https", host.https_port) if ssl else ("http", host.http_port)
    return winrm.Session(
        f"{scheme}://{host.address}:{port}/wsman",
        auth=(host.user, host.password if password is None else password),
        transport=transport,
        ca_trust_path=str(host.certificate),
    )


@SCHEMES
@pytest.mark.parametrize("transport", ["basic", "ntlm"])
def test_pywinrm_runs_a_command(shared_host: Host, ssl: bool, transport: str) -> None:
    result = pywinrm_session(shared_host, ssl, transport).run_cmd("echo", ["%COMPUTERNAME%", "&", "echo", "oops>&2", "&", "exit", "7"])
    assert (result.status_code, result.std_out.strip(), result.std_err.strip()) == (7, b"SHARED", b"oops")


@SCHEMES
@pytest.mark.parametrize("auth", ["basic", "ntlm", "negotiate"])
def test_pypsrp_runs_a_process(shared_host: Host, ssl: bool, auth: str) -> None:
    with connect(shared_host, ssl=ssl, auth=auth) as wsman, WinRS(wsman) as shell:
        process = Process(shell, "cmd.exe", ["/c", "echo out & echo err>&2 & exit 3010"])
        process.invoke()
        process.signal(SignalCode.TERMINATE)
    assert (process.rc, process.stdout.strip(), process.stderr.strip()) == (3010, b"out", b"err")


def test_ntlm_messages_over_http_are_sealed(shared_host: Host) -> None:
    with connect(shared_host, auth="ntlm") as wsman, WinRS(wsman):
        assert wsman.transport.session is not None
        assert wsman.transport.wrap_required
        assert wsman.transport.encryption is not None


@pytest.mark.parametrize("name", ["{user}", r".\{user}", r"SHARED\{user}", "{lower}"])
def test_a_user_may_be_named_as_windows_lets_it(shared_host: Host, name: str) -> None:
    user = name.format(user=shared_host.user, lower=shared_host.user.lower())
    with connect(shared_host, auth="ntlm", user=user) as wsman, WinRS(wsman) as shell:
        assert shell.owner == f"SHARED\\{shared_host.user}"


@SCHEMES
@pytest.mark.parametrize("auth", ["basic", "ntlm", "negotiate"])
def test_a_wrong_password_is_refused(shared_host: Host, ssl: bool, auth: str) -> None:
    with connect(shared_host, ssl=ssl, auth=auth, password="wrong") as wsman, pytest.raises(AuthenticationError):
        WinRS(wsman).open()


@pytest.mark.parametrize("transport", ["basic", "ntlm"])
def test_pywinrm_is_told_of_a_wrong_password(shared_host: Host, transport: str) -> None:
    with pytest.raises(InvalidCredentialsError):
        pywinrm_session(shared_host, False, transport, password="wrong").run_cmd("ver")


def test_an_unknown_user_is_refused(shared_host: Host) -> None:
    with connect(shared_host, auth="ntlm", user="nobody") as wsman, pytest.raises(AuthenticationError):
        WinRS(wsman).open()


def test_a_request_without_credentials_is_told_what_is_accepted(shared_host: Host) -> None:
    response = requests.post(f"http://{shared_host.address}:{shared_host.http_port}/wsman", data=IDENTIFY, timeout=120)
    assert response.status_code == 401
    assert "Negotiate" in response.headers["WWW-Authenticate"]
    assert 'Basic realm="WSMAN"' in response.headers["WWW-Authenticate"]
    assert response.content == b""


def test_the_service_says_which_windows_it_is(shared_host: Host) -> None:
    response = requests.post(
        f"http://{shared_host.address}:{shared_host.http_port}/wsman",
        data=IDENTIFY,
        auth=(shared_host.user, shared_host.password),
        headers={"Content-Type": "application/soap+xml;charset=UTF-8"},
        timeout=20,
    )
    assert response.status_code == 200
    assert "OS: 10.0.26100 SP: 0.0 Stack: 3.0" in response.text


def test_the_certificate_is_checked_against_the_labs_authority(shared_host: Host) -> None:
    url = f"https://{shared_host.address}:{shared_host.https_port}/wsman"
    with pytest.raises(requests.exceptions.SSLError):
        requests.post(url, data=IDENTIFY, timeout=120)
    assert requests.post(url, data=IDENTIFY, timeout=120, verify=str(shared_host.certificate)).status_code == 401


def test_messages_are_counted(shared_host: Host) -> None:
    before = shared_host.requests
    with connect(shared_host) as wsman, WinRS(wsman):
        pass
    after = shared_host.requests
    assert after.messages - before.messages == 2
    assert after.received_bytes > before.received_bytes
    assert after.sent_bytes > before.sent_bytes
