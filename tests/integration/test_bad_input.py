# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input gives one clear error with a stable code, and changes nothing on the host."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import Lab, msu
from lab.host import Host
from lab.orders import OrdersService
from lab.pytest_plugin import MakeHost
from lab.spec import HostSpec

from .controller import Controller, Json
from .fixes import Fix, Key, build_fix, leaks, make_key

pytestmark = pytest.mark.lab
APRIL, APRIL_UBR = "KB5082063", 32690
LEVEL = (r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion", "UBR")


def refused(result: Json) -> str:
    """The code of a failure that says what to do."""
    assert result.get("failed") or result.get("unreachable"), result
    assert result["error"]["remedy"]
    assert result["error"]["code"] in result["msg"]
    return str(result["error"]["code"])


def code_bytes(host: Host, service: OrdersService) -> bytes:
    """The service's own answers, which its code decides; and its process id."""
    return b"".join(service.get(path)[1] for path in ("/notes/-1", "/notes/1")) + str(service.pid()).encode() + host.name.encode()


# -- payloads ----------------------------------------------------------------------------------------------------------------


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def unsigned(content: bytes) -> bytes:
    """The signature is the last element of the outer array: a byte string of 64 bytes, made empty here."""
    assert content[-66:-64] == b"\x58\x40"
    return content[:-66] + b"\x40"


@pytest.mark.parametrize(
    ("damage", "code"),
    [(truncated, "payload_truncated"), (flipped, "payload_signature_invalid"), (unsigned, "payload_unsigned")],
)
def test_a_damaged_payload_is_refused(
    trusting_host: Host, service: OrdersService, controller: Controller, fix: Fix, tmp_path: Path, damage: object, code: str
) -> None:
    assert callable(damage)
    bad = tmp_path / "bad.hpp1"
    bad.write_bytes(damage(fix.path.read_bytes()))
    before = code_bytes(trusting_host, service)
    assert refused(controller.task("hotpatch", {"src": str(bad)}, trusting_host)) == code
    assert code_bytes(trusting_host, service) == before
    assert controller.task("host_info", {"sections": ["payloads"]}, trusting_host)["info"]["payloads"] == []


def test_a_payload_of_an_unknown_signer_is_refused(
    trusting_host: Host, service: OrdersService, controller: Controller, tmp_path: Path
) -> None:
    stranger = build_fix(controller, make_key(tmp_path / "stranger.pem"), tmp_path / "stranger.hpp1")
    assert refused(controller.task("hotpatch", {"src": str(stranger.path)}, trusting_host)) == "payload_key_unknown"
    assert leaks(service) == [True, True]


def test_a_payload_for_another_build_leaves_the_process_alone(
    trusting_host: Host, service: OrdersService, controller: Controller, key: Key, tmp_path: Path
) -> None:
    trusting_host.install_target("v3")
    fix = build_fix(controller, key, tmp_path / "fix.hpp1")
    result = controller.task("hotpatch", {"src": str(fix.path)}, trusting_host)
    assert refused(result) == "target_module_mismatch"
    assert [row["verdict"] for row in result["processes"]] == ["target_module_mismatch"]
    assert service.get("/health")[0] == 200


# -- packages ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def behind(make_host: MakeHost) -> Host:
    """A host with the agent that lacks the April baseline."""
    host = make_host(ubr=32230, updates=("KB5073379",), enrolled=True)
    host.install_agent()
    return host


def update(package: Path, sha256: str | None = None, **options: object) -> Json:
    found = hashlib.sha256(package.read_bytes()).hexdigest()
    arguments = {"kb": APRIL, "src": str(package), "sha256": sha256 or found, "build": f"26100.{APRIL_UBR}", "date": "2026-04-20"}
    return {**arguments, "poll_interval": 1, **options}


def test_a_package_with_a_wrong_hash_never_reaches_the_host(behind: Host, controller: Controller, tmp_path: Path) -> None:
    package = msu.build(tmp_path / "kb.msu", kb=APRIL, ubr=APRIL_UBR)
    assert refused(controller.task("cumulative_update", update(package, "0" * 64), behind)) == "store_hash_mismatch"
    assert list(behind.path(r"C:\ProgramData\hotpatch.windows\store").glob("*")) == []
    assert behind.registry_get(*LEVEL) == 32230


@pytest.mark.parametrize("damage", list(msu.Damage), ids=lambda damage: damage.name.lower())
def test_a_damaged_package_is_not_installed(behind: Host, controller: Controller, tmp_path: Path, damage: msu.Damage) -> None:
    package = msu.build_damaged(tmp_path / "kb.msu", damage, kb=APRIL, ubr=APRIL_UBR)
    result = controller.task("cumulative_update", update(package, reboot="if_required", reboot_timeout=60), behind)
    assert refused(result) in ("package_damaged", "package_install_failed")
    assert (behind.registry_get(*LEVEL), behind.boot_count, result["rebooted"]) == (32230, 1, False)


# -- hosts -------------------------------------------------------------------------------------------------------------------


def test_an_unknown_host_is_unreachable(ready_host: Host, controller: Controller) -> None:
    variables = {"ansible_port": 9, "ansible_winrs_reconnection_retries": 0}
    assert refused(controller.task("host_info", {}, ready_host, variables=variables)) == "host_unreachable"


def test_a_wrong_password_is_access_denied(ready_host: Host, controller: Controller) -> None:
    assert refused(controller.task("host_info", {}, ready_host, variables={"ansible_password": "wrong"})) == "access_denied"


def test_an_agent_of_another_protocol_version_is_refused(host: Host, controller: Controller, tmp_path: Path) -> None:
    reply = (
        r"{\"protocol\":2,\"agent\":{\"version\":\"9.0.0\",\"build\":\"lab\",\"mode\":\"transient\",\"sha256\":\"%s\"},\"result\":{}}"
        % ("0" * 64)
    )
    source, program = tmp_path / "future.c", tmp_path / "future.exe"
    source.write_text(f'#include <stdio.h>\nint main(void) {{ return fputs("{reply}", stdout) < 0; }}\n')
    subprocess.run(["x86_64-w64-mingw32-gcc-posix", "-static", "-o", str(program), str(source)], check=True)
    result = controller.task("host_info", {}, host, variables={"hotpatch_windows_agent_path": str(program)})
    assert refused(result) == "protocol_version"
    assert result["error"]["details"] == {"supported": 2, "requested": 1}


def test_a_stopped_service_is_named_and_not_worked_around(
    trusting_host: Host, service: OrdersService, controller: Controller, fix: Fix
) -> None:
    trusting_host.service_stop("hotpatch-agent")
    assert refused(controller.task("hotpatch", {"src": str(fix.path)}, trusting_host)) == "agent_service_stopped"
    assert leaks(service) == [True, True]
    assert controller.task("agent", {}, trusting_host)["changed"] is True
    assert trusting_host.service_state("hotpatch-agent") == "running"


def test_a_host_that_goes_down_in_the_middle_is_said_and_the_next_run_finishes(
    behind: Host, controller: Controller, tmp_path: Path
) -> None:
    package = msu.build(tmp_path / "kb.msu", kb=APRIL, ubr=APRIL_UBR)
    with ThreadPoolExecutor() as pool:
        # Up again only after the task has given up, so that it cannot wait the outage out.
        running = pool.submit(
            controller.task, "cumulative_update", update(package, reboot="always", reboot_delay=1, reboot_timeout=3), behind
        )
        wait_until(lambda: behind.path(r"C:\ProgramData\hotpatch.windows\jobs").is_dir())
        behind.power_cut()
        result = running.result()
    assert refused(result) in ("host_rebooting", "host_unreachable")
    behind.up()
    result = controller.task("cumulative_update", update(package, reboot="if_required", reboot_timeout=600), behind)
    assert "failed" not in result, result
    assert behind.registry_get(*LEVEL) == APRIL_UBR


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait up to a minute."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it never came to pass")


def test_a_full_disk_keeps_nothing_of_the_transfer(ready_host: Host, controller: Controller, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(6_000_000))
    ready_host.set_store_quota(2_000_000)
    assert refused(controller.task("stage", {"files": [{"src": str(large)}]}, ready_host)) == "store_disk_full"
    ready_host.set_store_quota(None)
    assert list(ready_host.path(r"C:\ProgramData\hotpatch.windows\store").glob("*")) == []
    assert controller.task("stage", {"files": [{"src": str(large)}]}, ready_host)["changed"] is True


# -- at the same time --------------------------------------------------------------------------------------------------------


def test_two_controllers_at_once_apply_once(
    trusting_host: Host, service: OrdersService, controller: Controller, fix: Fix, tmp_path: Path
) -> None:
    others = [Controller(tmp_path / f"controller{number}") for number in range(2)]
    for other in others:
        other.folder.mkdir()
    pid = service.pid()
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda other: other.task("hotpatch", {"src": str(fix.path)}, trusting_host), others))
    verdicts = sorted(row["verdict"] for result in results for row in result.get("processes", []))
    refusals = [result["error"]["code"] for result in results if result.get("failed")]
    assert verdicts.count("applied") == 1
    assert verdicts.count("already_applied") + refusals.count("agent_busy") == 1
    assert (leaks(service), service.pid()) == ([False, False], pid)
    assert controller.task("hotpatch", {"src": str(fix.path)}, trusting_host)["changed"] is False


def test_a_service_that_ends_during_apply_is_no_harm(trusting_host: Host, service: OrdersService, controller: Controller, fix: Fix) -> None:
    controller.task("stage", {"files": [{"src": str(fix.path)}]}, trusting_host)
    stopper = threading.Thread(target=trusting_host.service_stop, args=("orders",))
    stopper.start()
    result = controller.task("hotpatch", {"sha256": fix.sha256}, trusting_host)
    stopper.join()
    assert all(row["verdict"] in ("applied", "target_exited") for row in result["processes"]), result
    trusting_host.service_start("orders")
    wait_until(lambda: leaks(service) == [False, False])


# -- arguments ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "arguments", "code"),
    [
        ("hotpatch", {"src": "a", "payload_id": "b", "state": "reverted"}, "argument_conflict"),
        ("hotpatch", {"src": "no-such-file"}, "argument_invalid"),
        ("hotpatch", {"sha256": "0" * 64}, "store_object_missing"),
        ("hotpatch", {"state": "reverted", "payload_id": "nobody-knows-it"}, "payload_not_applied"),
        ("cumulative_update", {"kb": "5082063", "sha256": "0" * 64}, "argument_invalid"),
        ("cumulative_update", {"kb": "KB5082063", "sha256": "0" * 64, "src": "a", "url": "b"}, "argument_conflict"),
        ("stage", {"files": [{"url": "http://127.0.0.1:9/x", "sha256": "0" * 64}]}, "store_fetch_failed"),
        ("agent", {"trusted_keys": [{"name": "x", "public_key": "no key"}]}, "argument_invalid"),
        ("host_info", {"sections": ["weather"]}, "argument_invalid"),
        ("baseline_info", {"policy": {"reboot_never": True}}, "policy_invalid"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(session_host: Host, controller: Controller, module: str, arguments: Json, code: str) -> None:
    assert refused(controller.task(module, arguments, session_host)) == code


@pytest.fixture(scope="module")
def session_host(lab: Lab) -> Iterator[Host]:
    """One host with the agent for all that must not change anything."""
    host = lab.create(HostSpec("arguments"))
    host.up()
    host.install_agent()
    yield host
    lab.destroy(host)
