# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host boots, restarts and loses power as a Windows host does."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
from pypsrp.exceptions import WSManFaultError
from pypsrp.shell import WinRS

from lab import Host, LabError
from lab.pytest_plugin import MakeHost
from lab.wine import processes_of_prefix, wait_until

from .conftest import WindowsProgram, connect

CURRENT_VERSION = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
PACKAGES = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages"
BOOT_ID = r"HKLM\SOFTWARE\hotpatch.windows\Volatile"

VOLATILE_KEY = r"""
#include <windows.h>
int wmain(void) {
    HKEY key;
    DWORD how;
    if (RegCreateKeyExW(HKEY_LOCAL_MACHINE, L"SOFTWARE\\hotpatch.windows\\Volatile", 0, NULL, REG_OPTION_VOLATILE,
                        KEY_ALL_ACCESS, NULL, &key, &how))
        return 1;
    return RegSetValueExW(key, L"BootId", 0, REG_SZ, (const BYTE *)L"abc", 8) ? 2 : 0;
}
"""


def refuses_connections(host: Host) -> bool:
    for port in (host.http_port, host.https_port):
        with socket.socket() as client:
            if client.connect_ex((host.address, port)) == 0:
                return False
    return True


def test_the_registry_says_what_the_specification_says(make_host: MakeHost) -> None:
    host = make_host(
        name="db7", product="Windows Server 2022 Datacenter: Azure Edition", edition="ServerTurbine", build=20348, ubr=4000, vbs="off"
    )
    assert host.registry_get(CURRENT_VERSION, "ProductName") == "Windows Server 2022 Datacenter: Azure Edition"
    assert host.registry_get(CURRENT_VERSION, "EditionID") == "ServerTurbine"
    assert host.registry_get(CURRENT_VERSION, "CurrentBuildNumber") == "20348"
    assert host.registry_get(CURRENT_VERSION, "UBR") == 4000
    assert host.registry_get(PACKAGES + r"\Package_for_KB5082063~31bf3856ad364e35~amd64~~10.0.1.0", "CurrentState") == 112
    assert host.registry_get(r"HKLM\SYSTEM\CurrentControlSet\Control\DeviceGuard", "EnableVirtualizationBasedSecurity") is None
    assert host.run(["cmd", "/c", "echo %COMPUTERNAME%"]).stdout.split() == [b"DB7"]
    assert b"10.0.20348" in host.run(["cmd", "/c", "ver"]).stdout


def test_a_program_gets_its_input_and_gives_its_output_and_its_32_bit_exit_code(shared_host: Host) -> None:
    command = r"C:\windows\system32\more.com & echo %GREETING%>&2 & exit 3010"
    result = shared_host.run(["cmd", "/c", command], stdin=b"b\r\na\r\n", env={"GREETING": "hello"})
    assert (result.returncode, result.stdout, result.stderr.strip()) == (3010, b"b\r\na\r\n", b"hello")
    with pytest.raises(LabError, match="Win32 error 2"):
        shared_host.run(["no-such-program.exe"])


def test_a_registry_value_comes_back_as_it_was_set(shared_host: Host) -> None:
    key = r"HKLM\SOFTWARE\hotpatch.windows\Test"
    shared_host.registry_set(key, "number", 0xFFFFFFFE)
    shared_host.registry_set(key, "text", 'quoted "ä" \\ text')
    assert shared_host.registry_get(key, "number") == 0xFFFFFFFE
    assert shared_host.registry_get(key, "text") == 'quoted "ä" \\ text'
    shared_host.registry_delete(key, "number")
    assert shared_host.registry_get(key, "number") is None
    shared_host.registry_delete(key)
    assert shared_host.registry_get(key, "text") is None


def test_registry_values_can_be_read_and_changed_while_the_host_is_off(make_host: MakeHost) -> None:
    host = make_host(boot=False)
    host.registry_set(CURRENT_VERSION, "UBR", 111)
    host.registry_set(r"HKLM\SOFTWARE\hotpatch.windows\Lab", "Note", "from outside")
    host.up()
    assert host.registry_get(CURRENT_VERSION, "UBR") == 111
    host.registry_set(CURRENT_VERSION, "UBR", 222)
    host.down()
    assert host.registry_get(CURRENT_VERSION, "UBR") == 222
    assert host.registry_get(r"HKLM\SOFTWARE\hotpatch.windows\Lab", "Note") == "from outside"


def test_a_reboot_ends_every_process_and_starts_the_autostart_services_again(host: Host) -> None:
    service = host.install_target()
    before = {process.linux_pid for process in host.processes()}
    old = service.pid()
    assert old
    assert service.get("/")[0] < 500
    host.reboot()
    assert host.boot_count == 2
    assert before.isdisjoint({process.linux_pid for process in host.processes()})
    assert wait_until(lambda: service.pid() != 0, 20)
    assert service.get("/")[0] < 500


def test_a_shell_does_not_outlive_a_reboot(host: Host) -> None:
    wsman = connect(host)
    shell = WinRS(wsman)
    shell.open()
    host.reboot()
    with connect(host) as again:
        survivor = WinRS(again)
        survivor.opened, survivor._selector_set = True, shell._selector_set
        with pytest.raises(WSManFaultError) as error:
            survivor.command("cmd.exe", ["/c", "ver"])
    assert error.value.code == 2150858843


def test_a_host_that_is_down_refuses_connections_and_keeps_its_ports(host: Host) -> None:
    host.down()
    assert not host.is_up
    assert refuses_connections(host)
    host.up()
    assert not refuses_connections(host)


def test_a_reboot_that_the_host_asks_for_happens_after_its_delay(host: Host) -> None:
    host.path(r"C:\lab\reboot-request").write_text("1")
    assert wait_until(lambda: refuses_connections(host), 20, interval=0.01)
    host.wait_for_boot(2)
    assert not refuses_connections(host)
    assert not host.path(r"C:\lab\reboot-request").exists()


def test_a_volatile_registry_key_is_gone_after_a_reboot(host: Host, windows_program: WindowsProgram) -> None:
    shutil.copyfile(windows_program("volatile", VOLATILE_KEY, "advapi32"), host.path(r"C:\volatile.exe"))
    assert host.run([r"C:\volatile.exe"]).returncode == 0
    assert host.registry_get(BOOT_ID, "BootId") == "abc"
    host.reboot()
    assert host.registry_get(BOOT_ID, "BootId") is None


def test_a_power_cut_leaves_no_process_and_the_next_boot_has_the_registry(host: Host) -> None:
    host.registry_set(r"HKLM\SOFTWARE\hotpatch.windows\Test", "kept", "yes")
    host.power_cut()
    assert not processes_of_prefix(host.prefix)
    assert refuses_connections(host)
    host.up()
    assert host.registry_get(r"HKLM\SOFTWARE\hotpatch.windows\Test", "kept") == "yes"


def test_a_process_is_found_on_both_sides(host: Host) -> None:
    service = host.install_target()
    orders = next(process for process in host.processes() if process.image.lower().endswith(r"\orders.exe"))
    assert orders.pid == service.pid()
    assert orders.linux_pid is not None
    assert orders.linux_pid in processes_of_prefix(host.prefix)
    assert "orders.exe" in Path(f"/proc/{orders.linux_pid}/cmdline").read_text()


def test_what_a_service_writes_to_the_event_log_can_be_read(host: Host, windows_program: WindowsProgram) -> None:
    source = r"""
    #include <windows.h>
    static void report(WORD level, const WCHAR *text) {
        const WCHAR *strings[] = {text};
        ReportEventW(RegisterEventSourceW(NULL, L"test"), level, 0, 7, NULL, 1, 0, strings, NULL);
    }
    int wmain(void) {
        report(EVENTLOG_ERROR_TYPE, L"bad \"thing\" \x00e4");
        report(EVENTLOG_WARNING_TYPE, L"two\nlines");
        report(EVENTLOG_INFORMATION_TYPE, L"all well");
        return 0;
    }
    """
    shutil.copyfile(windows_program("reporter", source, "advapi32"), host.path(r"C:\reporter.exe"))
    assert host.run(["sc", "create", "reporter", "binPath=", r"C:\reporter.exe", "start=", "demand"]).returncode == 0
    host.run(["sc", "start", "reporter"], timeout=180)
    assert wait_until(lambda: len(host.event_log()) >= 3, 20)
    found = [(event.level, event.text) for event in host.event_log()]
    assert found == [("error", 'bad "thing" ä'), ("warning", "two\nlines"), ("information", "all well")]
