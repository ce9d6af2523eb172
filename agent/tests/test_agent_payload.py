# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a signed file in the store to running processes and back, by the agent alone: trust, apply, watch, alerts, revert."""

from __future__ import annotations

import hashlib
import time

import pytest
from agent_driver import HOME, SERVICE, Agent, Json, sha256, wait_for
from payload_driver import CVE, ID, Signer, alerts, leaks, payloads, staged

from lab import targets
from lab.orders import OrdersService


def test_a_payload_goes_into_the_running_process_and_out_again(resident: Agent, service: OrdersService, fix: bytes, signer: Signer) -> None:
    arguments = staged(resident, fix, signer)
    pid = service.pid()
    assert leaks(service) == [True] * len(targets.EXPLOITS)
    before = resident.call("preflight", arguments).result()
    assert [(process["pid"], process["service"], process["verdict"]) for process in before["processes"]] == [(pid, "orders", "would_apply")]
    assert resident.call("apply", arguments, dry_run=True).result()["changed"] is True
    assert leaks(service) == [True] * len(targets.EXPLOITS)
    assert not resident.file("desired.json").exists()
    report = resident.call("apply", arguments).result()
    assert (report["changed"], report["payload"]) == (True, {"id": ID, "sequence": 1, "sha256": sha256(fix)})
    assert report["summary"] == {"applied": 1, "already_applied": 0, "refused": 0, "busy": 0, "failed": 0, "inconsistent": 0}
    assert [(process["state"], process["verdict"], process["remedy"]) for process in report["processes"]] == [
        ("applied", "applied", "none")
    ]
    assert (leaks(service), service.pid()) == ([False] * len(targets.EXPLOITS), pid)
    again = resident.call("apply", arguments).result()
    assert (again["changed"], again["summary"]["already_applied"]) == (False, 1)
    assert resident.call("revert", {"payload_id": ID}, dry_run=True).result()["changed"] is True
    assert leaks(service) == [False] * len(targets.EXPLOITS)
    assert resident.call("revert", {"payload_id": ID}).result()["changed"] is True
    assert (leaks(service), service.pid()) == ([True] * len(targets.EXPLOITS), pid)
    assert resident.call("revert", {"payload_id": ID}).result()["changed"] is False


def test_host_info_tells_what_is_in_force_where(resident: Agent, service: OrdersService, fix: bytes, signer: Signer) -> None:
    arguments = staged(resident, fix, signer)
    assert payloads(resident) == []
    resident.call("apply", arguments).result()
    (payload,) = payloads(resident)
    assert (payload["id"], payload["sequence"], payload["sha256"], payload["cves"], payload["state"]) == (
        ID,
        1,
        sha256(fix),
        [CVE],
        "in_force",
    )
    assert payload["expires"] > payload["since"] > 1_700_000_000
    (process,) = payload["processes"]
    assert (process["pid"], process["service"], process["state"]) == (service.pid(), "orders", "applied")
    assert process["since"] >= payload["since"] - 5
    assert resident.call("host_info", {"sections": ["coverage"]}).result()["coverage"] == []


def test_a_new_process_is_patched_by_the_service(resident: Agent, service: OrdersService, fix: bytes, signer: Signer) -> None:
    resident.call("apply", staged(resident, fix, signer)).result()
    first = service.pid()
    resident.host.service_stop("orders")
    resident.host.service_start("orders")
    assert service.pid() != first
    wait_for(lambda: leaks(service) == [False] * len(targets.EXPLOITS))
    assert [process["pid"] for process in payloads(resident)[0]["processes"]] == [service.pid()]


def test_what_must_be_in_force_is_in_force_again_after_a_reboot(
    resident: Agent, service: OrdersService, fix: bytes, signer: Signer
) -> None:
    resident.call("apply", staged(resident, fix, signer)).result()
    resident.host.reboot()
    wait_for(lambda: leaks(service) == [False] * len(targets.EXPLOITS))


def test_what_was_applied_for_this_process_only_is_not_put_into_the_next(
    resident: Agent, service: OrdersService, fix: bytes, signer: Signer
) -> None:
    resident.call("apply", {**staged(resident, fix, signer), "persist": False}).result()
    assert leaks(service) == [False] * len(targets.EXPLOITS)
    resident.host.service_stop("orders")
    resident.host.service_start("orders")
    time.sleep(3)  # more than one round of the watch
    assert leaks(service) == [True] * len(targets.EXPLOITS)


def test_the_service_knows_what_is_applied_after_its_own_restart(
    resident: Agent, service: OrdersService, fix: bytes, signer: Signer
) -> None:
    resident.call("apply", staged(resident, fix, signer)).result()
    pid = service.pid()
    resident.host.service_stop(SERVICE)
    assert leaks(service) == [False] * len(targets.EXPLOITS)
    resident.host.service_start(SERVICE)
    assert [process["pid"] for process in payloads(resident)[0]["processes"]] == [pid]
    assert resident.call("revert", {"payload_id": ID}).result()["summary"]["applied"] == 1
    assert (leaks(service), service.pid()) == ([True] * len(targets.EXPLOITS), pid)


def test_an_agent_sent_for_one_task_applies_and_another_one_reverts(agent: Agent, fix: bytes, signer: Signer) -> None:
    service = agent.host.install_target()
    report = agent.call("apply", staged(agent, fix, signer))
    assert report.document["agent"]["mode"] == "transient"
    assert report.result()["summary"]["applied"] == 1
    assert leaks(service) == [False] * len(targets.EXPLOITS)
    assert agent.call("revert", {"payload_id": ID}).result()["summary"]["applied"] == 1
    assert leaks(service) == [True] * len(targets.EXPLOITS)


@pytest.mark.parametrize(
    ("trust", "code"),
    [
        ({"keys": [], "revoked_keys": [], "revoked_payloads": []}, "payload_key_unknown"),
        ("key revoked", "payload_key_revoked"),
        ("key expired", "payload_key_expired"),
        ("payload revoked", "payload_revoked"),
    ],
    ids=["nobody is trusted", "key revoked", "key expired", "payload revoked"],
)
def test_a_payload_that_is_not_trusted_touches_nothing(
    resident: Agent, service: OrdersService, fix: bytes, signer: Signer, trust: Json | str, code: str
) -> None:
    arguments = staged(resident, fix, signer)
    wanted = signer.trusted()
    match trust:
        case "key revoked":
            wanted = signer.trusted(revoked_keys=[hashlib.sha256(signer.public).hexdigest()])
        case "key expired":
            wanted["keys"][0]["not_after"] = 1
        case "payload revoked":
            wanted = signer.trusted(revoked_payloads=[sha256(fix)])
        case dict():
            wanted = trust
    resident.call("trust_set", wanted).result()
    for operation in ("preflight", "apply"):
        assert resident.call(operation, arguments).code == code
    assert leaks(service) == [True] * len(targets.EXPLOITS)
    assert not resident.file("desired.json").exists()


def test_an_older_payload_is_refused_once_a_newer_one_was_accepted(resident: Agent, service: OrdersService, signer: Signer) -> None:
    older, newer = signer.fix(sequence=1), signer.fix(sequence=2)
    resident.put(older).result()
    resident.call("apply", staged(resident, newer, signer)).result()
    assert resident.call("trust_get").result()["sequences"] == {ID: 2}
    assert resident.call("apply", {"payload": sha256(older)}).code == "payload_sequence_back"
    resident.call("revert", {"payload_id": ID}).result()
    assert resident.call("apply", {"payload": sha256(older)}).code == "payload_sequence_back"
    assert leaks(service) == [True] * len(targets.EXPLOITS)


def test_a_newer_payload_takes_the_place_of_the_older(resident: Agent, service: OrdersService, signer: Signer) -> None:
    older, newer = signer.fix(sequence=1), signer.fix(sequence=2)
    resident.call("apply", staged(resident, older, signer)).result()
    assert resident.call("apply", staged(resident, newer, signer)).result()["summary"]["applied"] == 1
    assert [(payload["sequence"], len(payload["processes"])) for payload in payloads(resident)] == [(2, 1)]
    assert leaks(service) == [False] * len(targets.EXPLOITS)


def test_a_payload_that_expires_while_it_is_wanted_becomes_an_alert_and_an_event(
    resident: Agent, service: OrdersService, signer: Signer
) -> None:
    brief = signer.fix(lifetime=12)
    resident.call("apply", staged(resident, brief, signer)).result()
    assert alerts(resident) == []
    wait_for(lambda: alerts(resident) == ["payload_expired"], timeout=40)
    wait_for(lambda: any("payload_expired" in event.text for event in resident.host.event_log()))
    metrics = resident.file(r"metrics\hotpatch_windows.prom")
    wait_for(lambda: 'hotpatch_windows_alerts{code="payload_expired"} 1' in metrics.read_text())
    # What is in force stays so; an end that nobody asked for could be worse than an old fix.
    assert leaks(service) == [False] * len(targets.EXPLOITS)
    resident.call("revert", {"payload_id": ID}).result()
    wait_for(lambda: alerts(resident) == [])


def test_a_payload_that_is_revoked_while_it_is_wanted_becomes_an_alert(
    resident: Agent, service: OrdersService, fix: bytes, signer: Signer
) -> None:
    resident.call("apply", staged(resident, fix, signer)).result()
    resident.call("trust_set", signer.trusted(revoked_payloads=[sha256(fix)])).result()
    wait_for(lambda: alerts(resident) == ["payload_revoked"])
    assert leaks(service) == [False] * len(targets.EXPLOITS)


def test_what_is_in_force_cannot_be_removed_from_the_store(resident: Agent, service: OrdersService, fix: bytes, signer: Signer) -> None:
    resident.call("apply", staged(resident, fix, signer)).result()
    assert resident.call("store_remove", {"objects": [sha256(fix)]}).code == "store_object_in_use"
    assert resident.stored() == {sha256(fix): fix}
    resident.call("revert", {"payload_id": ID}).result()
    assert resident.call("store_remove", {"objects": [sha256(fix)]}).result()["removed"] == [sha256(fix)]
    assert service.pid()


def test_uninstalling_reverts_first(resident: Agent, service: OrdersService, fix: bytes, signer: Signer) -> None:
    resident.call("apply", staged(resident, fix, signer)).result()
    pid = service.pid()
    assert resident.call("agent_uninstall", {"revert": False}).code == "store_object_in_use"
    assert resident.host.service_state(SERVICE) == "running"
    assert leaks(service) == [False] * len(targets.EXPLOITS)
    resident.command("uninstall").result()
    assert (leaks(service), service.pid()) == ([True] * len(targets.EXPLOITS), pid)
    assert not resident.host.path(HOME).exists()


def test_an_unknown_payload_cannot_be_reverted(resident: Agent) -> None:
    assert resident.call("revert", {"payload_id": "never-seen"}).code == "payload_not_applied"


def test_metrics_tell_what_is_in_force(resident: Agent, service: OrdersService, fix: bytes, signer: Signer) -> None:
    resident.call("apply", staged(resident, fix, signer)).result()
    metrics = resident.file(r"metrics\hotpatch_windows.prom")
    sample = f'hotpatch_windows_payload_processes{{payload="{ID}",sequence="1",state="applied"}} 1'
    wait_for(lambda: sample in metrics.read_text())
    assert service.pid()
