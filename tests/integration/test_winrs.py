# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection winrs against the lab's WS-Man endpoint."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest
from ansible.errors import AnsibleAuthenticationFailure, AnsibleConnectionFailure, AnsibleError

from lab.host import Host
from lab.pytest_plugin import MakeHost

from .connections import connect

pytestmark = pytest.mark.lab


@pytest.mark.parametrize(
    "options",
    [
        {"auth": "ntlm"},
        {"auth": "negotiate"},
        {"auth": "basic"},
        {"auth": "ntlm", "protocol": "http"},
        {"auth": "negotiate", "message_encryption": "always"},
    ],
    ids=lambda options: "-".join(options.values()),
)
def test_programs_run_with_every_way_to_log_in(shared_host: Host, options: dict[str, str]) -> None:
    connection = connect(shared_host, **options)
    code, stdout, stderr = connection.exec_command("echo out& echo err>&2& exit 7")
    connection.close()
    assert (code, stdout.strip(), stderr.strip()) == (7, b"out", b"err")


def test_a_password_never_goes_out_readable(shared_host: Host) -> None:
    with pytest.raises(AnsibleError) as caught:
        connect(shared_host, auth="basic", protocol="http").exec_command("ver")
    assert "do not fit together" in str(caught.value)


def test_one_connection_runs_many_programs_in_one_shell(shared_host: Host) -> None:
    connection = connect(shared_host)
    assert [connection.exec_command(f"exit {code}")[0] for code in range(5)] == [0, 1, 2, 3, 4]
    connection.close()


def test_the_environment_of_the_task_reaches_the_program(shared_host: Host) -> None:
    connection = connect(shared_host)
    connection.environment = {"COLOUR": "blue and green"}
    assert connection.exec_command("echo %COLOUR%")[1].strip() == b"blue and green"
    connection.close()


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 700_001])
def test_files_arrive_and_come_back_the_same(shared_host: Host, tmp_path: Path, size: int) -> None:
    content, there = os.urandom(size), shared_host.path(rf"C:\file-{size}.bin")
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(content)
    connection = connect(shared_host)
    connection.put_file(str(source), rf"C:\file-{size}.bin")
    assert there.read_bytes() == content
    connection.fetch_file(rf"C:\file-{size}.bin", str(back))
    connection.close()
    assert back.read_bytes() == content
    there.unlink()


def test_a_host_without_tar_gets_files_by_certutil(host: Host, tmp_path: Path) -> None:
    host.path(r"C:\windows\system32\tar.exe").unlink()
    source = tmp_path / "source"
    source.write_bytes(os.urandom(100_003))
    connection = connect(host)
    connection.put_file(str(source), r"C:\file.bin")
    assert host.path(r"C:\file.bin").read_bytes() == source.read_bytes()
    assert [path.name for path in host.drive_c.glob("*.b64")] == []
    with pytest.raises(AnsibleError, match="Windows Server 2019"):
        connection.fetch_file(r"C:\file.bin", str(tmp_path / "back"))
    connection.close()


def test_a_file_that_cannot_be_written_is_one_clear_error(shared_host: Host, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x")
    connection = connect(shared_host)
    with pytest.raises(AnsibleError, match="could not write"):
        connection.put_file(str(source), r"C:\no\such\folder\file.bin")
    with pytest.raises(AnsibleError, match="could not read"):
        connection.fetch_file(r"C:\no-such-file", str(tmp_path / "back"))
    connection.close()
    assert not (tmp_path / "back").exists()


def test_progress_is_told_while_a_file_is_sent(shared_host: Host, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(2_000_000))
    told: list[int] = []
    connection = connect(shared_host)
    connection.put_stream(source, r"C:\progress.bin", told.append)
    connection.close()
    assert told == sorted(told)
    assert len(told) >= 4
    assert told[-1] >= 2_000_000
    shared_host.path(r"C:\progress.bin").unlink()


def test_a_program_that_does_not_read_its_input_still_gives_its_exit_code(shared_host: Host) -> None:
    connection = connect(shared_host)
    code, _stdout, _stderr = connection.run_program("exit 3", [bytes(3_000_000)])
    assert code == 3
    assert connection.exec_command("echo next")[1].strip() == b"next"
    connection.close()


def test_a_wrong_password_is_access_denied_and_not_tried_again(shared_host: Host) -> None:
    connection = connect(shared_host, remote_password="wrong", reconnection_retries=3, reconnection_backoff=60)
    with pytest.raises(AnsibleAuthenticationFailure):
        connection.exec_command("ver")
    assert connection.established is False


def test_nobody_at_the_port_is_unreachable(shared_host: Host) -> None:
    with pytest.raises(AnsibleConnectionFailure, match="opening a shell"):
        connect(shared_host, port=9).exec_command("ver")


def test_a_certificate_that_nobody_vouches_for_is_refused(shared_host: Host) -> None:
    with pytest.raises(AnsibleConnectionFailure, match=r"(?i)certificate"):
        connect(shared_host, ca_cert=None).exec_command("ver")
    connection = connect(shared_host, ca_cert=None, cert_validation="ignore")
    assert connection.exec_command("exit 0")[0] == 0
    connection.close()


def test_a_host_that_goes_down_under_a_program_is_unreachable_and_usable_after_it_is_up(make_host: MakeHost) -> None:
    host = make_host()
    connection = connect(host)
    connection.exec_command("ver")
    threading.Timer(1.0, host.power_cut).start()
    with pytest.raises(AnsibleConnectionFailure):
        connection.exec_command("ping -n 60 127.0.0.1 >nul & C:\\windows\\system32\\timeout.exe 60", None)
    assert connection.established is True
    host.up()
    connection.reset()
    assert connection.exec_command("echo back")[1].strip() == b"back"
    connection.close()


def test_opening_a_shell_is_tried_again_while_the_host_starts(make_host: MakeHost) -> None:
    host = make_host(boot=False)
    starter = threading.Timer(0.5, host.up)
    starter.start()
    connection = connect(host, reconnection_retries=8, reconnection_backoff=0.25)
    assert connection.exec_command("exit 0")[0] == 0
    connection.close()
    starter.join()


def test_output_larger_than_one_message_is_complete(shared_host: Host, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"0123456789abcdef" * 50_000)
    connection = connect(shared_host)
    connection.put_file(str(source), r"C:\large.txt")
    _code, stdout, _stderr = connection.exec_command(r"type C:\large.txt")
    connection.close()
    assert hashlib.sha256(stdout).digest() == hashlib.sha256(source.read_bytes()).digest()
    shared_host.path(r"C:\large.txt").unlink()
