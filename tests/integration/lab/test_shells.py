# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""WinRS shells: several commands, input, output as it comes, environment, folder, signals."""

from __future__ import annotations

import base64
import hashlib
import shutil
import time

import pytest
from pypsrp.exceptions import WSManFaultError
from pypsrp.shell import CommandState, Process, SignalCode

from lab import Host
from lab.pytest_plugin import MakeHost
from lab.spec import Quotas
from lab.wine import wait_until

from .conftest import WindowsProgram, shell_on

TIMED_OUT = 2150858793
CONTROL_C_EXIT = -1073741510  # STATUS_CONTROL_C_EXIT
UNKNOWN = 2150858843

SLOW = r"""
#include <stdio.h>
#include <windows.h>
int wmain(int argc, wchar_t **argv) {
    puts("first");
    fflush(stdout);
    Sleep(argc > 1 ? (DWORD)_wtoi(argv[1]) : 600000);
    puts("second");
    return 5;
}
"""
TREE = r"""
#include <windows.h>
int wmain(int argc, wchar_t **argv) {
    STARTUPINFOW startup = {.cb = sizeof startup};
    PROCESS_INFORMATION process;
    wchar_t line[] = L"C:\\tree.exe child";
    if (argc == 1)
        CreateProcessW(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process);
    Sleep(600000);
    return 0;
}
"""


def images(host: Host) -> list[str]:
    return [process.image.lower() for process in host.processes()]


def run(host: Host, line: str, **shell_options: object) -> Process:
    with shell_on(host, **shell_options) as shell:
        process = Process(shell, line)
        process.invoke()
        return process


def test_the_environment_of_the_shell_reaches_its_commands(shared_host: Host) -> None:
    process = run(shared_host, "echo %COLOUR%/%EMPTY%/%COMPUTERNAME%", environment={"COLOUR": "blau", "EMPTY": ""})
    assert process.stdout.strip() == b"blau/%EMPTY%/SHARED"


@pytest.mark.parametrize(("code_page", "encoding"), [(437, "cp437"), (1252, "cp1252"), (65001, "utf-8")])
def test_output_is_in_the_code_page_of_the_shell(shared_host: Host, code_page: int, encoding: str) -> None:
    assert run(shared_host, "echo grün", codepage=code_page).stdout.decode(encoding).strip() == "grün"


def test_a_code_page_that_windows_does_not_have_is_refused(shared_host: Host) -> None:
    with pytest.raises(WSManFaultError) as error:
        run(shared_host, "ver", codepage=12345)
    assert error.value.code == 2150859072


def test_commands_start_in_the_folder_of_the_shell(shared_host: Host) -> None:
    assert run(shared_host, "cd", working_directory=r"C:\windows\system32").stdout.strip().lower() == rb"c:\windows\system32"
    assert run(shared_host, "cd").stdout.strip().lower().startswith(rb"c:\users")


def test_a_folder_that_does_not_exist_is_an_error_of_the_command(shared_host: Host) -> None:
    with pytest.raises(WSManFaultError) as error:
        run(shared_host, "cd", working_directory=r"C:\no such folder")
    assert error.value.code == 267


def test_a_program_can_be_started_without_cmd(shared_host: Host) -> None:
    with shell_on(shared_host) as shell:
        process = Process(shell, r"C:\windows\system32\cmd.exe", ["/c", "echo", "%OS%", "&", "exit", "9"], no_shell=True)
        process.invoke()
        with pytest.raises(WSManFaultError) as error:
            Process(shell, r"C:\no\such.exe", no_shell=True).invoke()
    assert (process.rc, process.stdout.strip()) == (9, b"Windows_NT")
    assert error.value.code in (2, 3)


def test_one_shell_runs_several_commands_one_after_the_other(shared_host: Host) -> None:
    with shell_on(shared_host) as shell:
        for number in range(3):
            process = Process(shell, f"echo {number} & exit {number}")
            process.invoke()
            process.signal(SignalCode.TERMINATE)
            assert (process.rc, process.stdout.strip()) == (number, str(number).encode())


def test_one_shell_runs_several_commands_at_once(shared_host: Host) -> None:
    more = r"C:\windows\system32\more.com"
    with shell_on(shared_host) as shell:
        processes = [Process(shell, more) for _ in range(3)]
        for process in processes:
            process.begin_invoke()
        assert len({process.id for process in processes}) == 3
        for number, process in reversed(list(enumerate(processes))):
            process.send(f"{number}\r\n".encode())
        for number, process in enumerate(processes):
            process.end_invoke()
            assert (process.rc, process.stdout) == (0, f"{number}\r\n".encode())


def test_output_comes_while_the_command_runs(host: Host, windows_program: WindowsProgram) -> None:
    shutil.copyfile(windows_program("slow", SLOW), host.path(r"C:\slow.exe"))
    with shell_on(host) as shell:
        process = Process(shell, r"C:\slow.exe 3000")
        process.begin_invoke()
        process.poll_invoke()
        assert (process.stdout.strip(), process.state) == (b"first", CommandState.RUNNING)
        process.end_invoke()
        assert (process.stdout.split(), process.rc) == ([b"first", b"second"], 5)


def test_a_receive_with_nothing_to_say_times_out_and_can_be_repeated(host: Host, windows_program: WindowsProgram) -> None:
    shutil.copyfile(windows_program("slow", SLOW), host.path(r"C:\slow.exe"))
    with shell_on(host) as shell:
        process = Process(shell, r"C:\slow.exe 4000")
        process.begin_invoke()
        process.poll_invoke()
        with pytest.raises(WSManFaultError) as error:
            shell.receive("stdout stderr", process.id, timeout=1)
        assert error.value.code == TIMED_OUT
        process.end_invoke()
        assert process.rc == 5


def test_two_megabytes_of_base64_become_a_file(shared_host: Host) -> None:
    """The way onto a host that has neither tar nor PowerShell."""
    data = bytes(range(256)) * 6000
    text = base64.encodebytes(data)
    assert len(text) > 2_000_000
    with shell_on(shared_host) as shell:
        process = Process(shell, r"more > C:\sent.b64")
        process.begin_invoke()
        for start in range(0, len(text), 200_000):
            process.send(text[start : start + 200_000], end=start + 200_000 >= len(text))
        process.end_invoke()
        assert process.rc == 0
        decode = Process(shell, r"certutil -f -decode C:\sent.b64 C:\sent.bin >nul && certutil -hashfile C:\sent.bin SHA256")
        decode.invoke()
    assert hashlib.sha256(data).hexdigest().encode() in decode.stdout
    assert shared_host.path(r"C:\sent.bin").read_bytes() == data


def test_a_large_output_comes_whole_and_in_order(shared_host: Host) -> None:
    lines = b"".join(b"%07d\r\n" % number for number in range(300_000))
    shared_host.path(r"C:\large.txt").write_bytes(lines)
    assert run(shared_host, r"type C:\large.txt").stdout == lines


def test_input_after_the_end_is_refused(shared_host: Host) -> None:
    with shell_on(shared_host) as shell:
        process = Process(shell, r"C:\windows\system32\more.com")
        process.begin_invoke()
        process.send(b"x", end=True)
        with pytest.raises(WSManFaultError) as error:
            process.send(b"y", end=True)
        assert error.value.code == 109
        process.end_invoke()


def test_terminate_ends_a_command_and_everything_it_started(host: Host, windows_program: WindowsProgram) -> None:
    shutil.copyfile(windows_program("tree", TREE), host.path(r"C:\tree.exe"))
    with shell_on(host) as shell:
        process = Process(shell, r"C:\tree.exe")
        process.begin_invoke()
        assert wait_until(lambda: images(host).count(r"c:\tree.exe") == 2, 20)
        process.signal(SignalCode.TERMINATE)
        assert wait_until(lambda: r"c:\tree.exe" not in images(host), 20)
        with pytest.raises(WSManFaultError) as error:
            process.poll_invoke()
        assert error.value.code == UNKNOWN


def test_control_c_reaches_the_program(host: Host, windows_program: WindowsProgram) -> None:
    shutil.copyfile(windows_program("slow", SLOW), host.path(r"C:\slow.exe"))
    with shell_on(host) as shell:
        process = Process(shell, r"C:\slow.exe", no_shell=True)
        process.begin_invoke()
        process.poll_invoke()
        process.signal(SignalCode.CTRL_C)
        process.end_invoke()
        # Windows' default handler ends a program with STATUS_CONTROL_C_EXIT, that of Wine 8 with 0.
        assert process.rc in (CONTROL_C_EXIT, 0)
        assert process.stdout.strip() == b"first"


def test_deleting_a_shell_ends_its_commands(host: Host, windows_program: WindowsProgram) -> None:
    shutil.copyfile(windows_program("tree", TREE), host.path(r"C:\tree.exe"))
    with shell_on(host) as shell:
        Process(shell, r"C:\tree.exe").begin_invoke()
        assert wait_until(lambda: images(host).count(r"c:\tree.exe") == 2, 20)
    assert wait_until(lambda: r"c:\tree.exe" not in images(host), 20)


def test_a_process_that_breaks_away_outlives_its_shell(host: Host, windows_program: WindowsProgram) -> None:
    source = TREE.replace("TRUE, 0, NULL", "FALSE, CREATE_BREAKAWAY_FROM_JOB | DETACHED_PROCESS, NULL")
    source = source.replace("Sleep(600000);\n    return 0;", "if (argc > 1) Sleep(600000);\n    return 0;")
    shutil.copyfile(windows_program("tree", source), host.path(r"C:\tree.exe"))
    with shell_on(host) as shell:
        process = Process(shell, r"C:\tree.exe")
        process.invoke()
        assert process.rc == 0
    assert images(host).count(r"c:\tree.exe") == 1


def test_a_shell_that_is_not_used_is_closed_after_its_idle_timeout(make_host: MakeHost) -> None:
    host = make_host(quotas=Quotas(idle_timeout_s=1.0))
    with shell_on(host) as shell:
        time.sleep(3)
        with pytest.raises(WSManFaultError) as error:
            shell.command("cmd.exe", ["/c", "ver"])
        assert error.value.code == UNKNOWN
        shell.opened = False
