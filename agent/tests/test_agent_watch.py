# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service's watch: new processes and late loads get the fix, and whatever is wrong is told in three places and acted on in none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from agent_driver import SERVICE, SERVICE_KEY, Agent, Json, sha256, wait_for
from payload_driver import ID, Module, Parked, Signer, alerts, leaks, payloads, section, staged, start_consoles
from prometheus_client.parser import text_string_to_metric_families

from lab import targets
from lab.orders import OrdersService

FIXED = [False] * len(targets.EXPLOITS)
VULNERABLE = [True] * len(targets.EXPLOITS)
JOURNAL = "journal.log"
# The ids of agent/src/events.mc, by which monitoring filters.
SITE_CHANGED, LATE_APPLY_FAILED, JOURNAL_DISAGREES, PAYLOAD_EXPIRED, PAYLOAD_REVOKED, ALERT_ENDED = 20, 21, 22, 23, 24, 30
SEVERAL_ROUNDS_S = 3.0
"""The watch looks every quarter of a second here."""


@pytest.fixture
def watching(resident: Agent) -> Agent:
    """A host whose watch looks often."""
    resident.host.registry_set(rf"{SERVICE_KEY}\Parameters", "WatchIntervalMs", 250)
    return resident


@pytest.fixture
def orders(watching: Agent) -> OrdersService:
    """The vulnerable service on it."""
    return watching.host.install_target()


@pytest.fixture
def parked(watching: Agent) -> Iterator[Parked]:
    """A process on it that loads its module when it is told to."""
    process = Parked(watching.host)
    yield process
    process.close()


def samples(agent: Agent) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The metrics as a collector reads them: each sample once, none with a time of its own."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(agent.file(r"metrics\hotpatch_windows.prom").read_text(encoding="utf-8")):
        assert family.documentation
        assert family.type in ("gauge", "counter")
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found
            assert sample.timestamp is None
            found[key] = sample.value
    return found


def sample(agent: Agent, name: str, **labels: str) -> float | None:
    return samples(agent).get((f"hotpatch_windows_{name}", frozenset(labels.items())))


def events(agent: Agent, number: int) -> list[str]:
    """The texts of the service's events with this id."""
    return [event.text for event in agent.host.event_log() if (event.source, event.event_id) == (SERVICE, number)]


def expect_alert(agent: Agent, code: str, event: int) -> None:
    """The alert stands in host_info, in the metrics, and was written once to the event log."""
    wait_for(lambda: alerts(agent) == [code])
    (alert,) = section(agent, "alerts")
    assert alert["message"]
    assert alert["remedy"]
    assert alert["since"] > 1_700_000_000
    wait_for(lambda: sample(agent, "alerts", code=code) == 1)
    wait_for(lambda: len([text for text in events(agent, event) if text.startswith(code)]) == 1)


def expect_end(agent: Agent, code: str) -> None:
    """The alert is over in all three places."""
    wait_for(lambda: alerts(agent) == [])
    wait_for(lambda: sample(agent, "alerts", code=code) is None)
    wait_for(lambda: any(text.startswith(f"Over: {code}") for text in events(agent, ALERT_ENDED)))


def applied(agent: Agent, fix: bytes, signer: Signer) -> Json:
    """The one process that the fix was applied to."""
    (process,) = agent.call("apply", staged(agent, fix, signer)).result()["processes"]
    assert process["verdict"] == "applied"
    found: Json = process
    return found


def test_a_module_that_is_loaded_late_is_patched(watching: Agent, parked: Parked, signer: Signer) -> None:
    report = watching.call("apply", staged(watching, Parked.fix(signer), signer)).result()
    assert (report["changed"], report["processes"]) == (True, [])
    assert parked.ask("load") == "loaded"
    wait_for(lambda: parked.ask("work") == "22")
    assert [process["pid"] for process in payloads(watching)[0]["processes"]] == [parked.pid]


def test_a_foreign_change_of_a_site_is_told_and_left_alone(watching: Agent, orders: OrdersService, fix: bytes, signer: Signer) -> None:
    pid = orders.pid()
    module = Module.of(watching.host, applied(watching, fix, signer))
    assert (module.read(), leaks(orders)) == (module.patched, FIXED)
    address = min(module.patched)
    foreign = module.patched | {address: b"\x90" * len(module.patched[address])}
    module.write(foreign)
    expect_alert(watching, "site_changed", SITE_CHANGED)
    assert str(pid) in section(watching, "alerts")[0]["where"]
    time.sleep(SEVERAL_ROUNDS_S)
    assert (module.read(), orders.pid()) == (foreign, pid)
    assert alerts(watching) == ["site_changed"]
    (gap,) = section(watching, "coverage")
    assert (gap["pid"], gap["code"], gap["remedy"]) == (pid, "site_changed", "restart_service")
    module.write(module.patched)
    expect_end(watching, "site_changed")
    assert section(watching, "coverage") == []


def test_bytes_put_back_behind_the_journal_are_told_and_the_fix_returns(
    watching: Agent, orders: OrdersService, fix: bytes, signer: Signer
) -> None:
    pid = orders.pid()
    module = Module.of(watching.host, applied(watching, fix, signer))
    module.write(module.original)
    # A module that was loaded anew looks the same, so it is patched again; but never in silence.
    wait_for(lambda: any(text.startswith("journal_disagrees") for text in events(watching, JOURNAL_DISAGREES)))
    wait_for(lambda: leaks(orders) == FIXED)
    assert orders.pid() == pid
    expect_end(watching, "journal_disagrees")
    assert [process["state"] for process in payloads(watching)[0]["processes"]] == ["applied"]
    assert section(watching, "coverage") == []


@pytest.mark.parametrize("journal", ["gone", "of another time"])
def test_patched_processes_that_the_journal_does_not_know_are_told_and_left_alone(
    watching: Agent, orders: OrdersService, fix: bytes, signer: Signer, journal: str
) -> None:
    pid = orders.pid()
    arguments = staged(watching, fix, signer)
    watching.call("apply", arguments).result()
    watching.call("revert", {"payload_id": ID}).result()
    watching.host.service_stop(SERVICE)
    before = watching.file(JOURNAL).read_bytes()
    watching.host.service_start(SERVICE)
    module = Module.of(watching.host, applied(watching, fix, signer))
    watching.host.service_stop(SERVICE)
    watching.file(JOURNAL).unlink()
    if journal == "of another time":
        watching.file(JOURNAL).write_bytes(before)
    watching.host.service_start(SERVICE)
    expect_alert(watching, "journal_disagrees", JOURNAL_DISAGREES)
    assert str(pid) in section(watching, "alerts")[0]["where"]
    (row,) = watching.call("apply", arguments).result()["processes"]
    assert (row["verdict"], row["state"], row["remedy"]) == ("journal_disagrees", "inconsistent", "restart_service")
    assert [(gap["pid"], gap["code"]) for gap in section(watching, "coverage")] == [(pid, "journal_disagrees")]
    time.sleep(SEVERAL_ROUNDS_S)
    assert (module.read(), orders.pid(), leaks(orders)) == (module.patched, pid, FIXED)
    watching.host.service_stop("orders")
    watching.host.service_start("orders")
    expect_end(watching, "journal_disagrees")
    wait_for(lambda: leaks(orders) == FIXED)
    assert section(watching, "coverage") == []


def test_a_late_apply_that_fails_is_told_until_it_succeeds_and_keeps_nobody_waiting(
    watching: Agent, parked: Parked, signer: Signer
) -> None:
    assert parked.ask("load") == "loaded"
    assert parked.ask("park") == "parked"
    arguments = {**staged(watching, Parked.fix(signer), signer), "wait_budget_ms": 300}
    report = watching.call("apply", arguments).result()
    assert report["summary"] == {"applied": 0, "already_applied": 0, "refused": 0, "busy": 1, "failed": 0, "inconsistent": 0}
    assert [(row["verdict"], row["remedy"], row["blocking"]["function"]) for row in report["processes"]] == [
        ("target_busy", "apply", "work")
    ]
    expect_alert(watching, "late_apply_failed", LATE_APPLY_FAILED)
    assert [(gap["pid"], gap["code"], gap["remedy"]) for gap in section(watching, "coverage")] == [(parked.pid, None, "apply")]
    # The watch tries in every round; operators get the host's lock all the same.
    for _ in range(5):
        watching.call("trust_set", signer.trusted()).result()
    assert parked.ask("leave") == "11"
    wait_for(lambda: parked.ask("work") == "22")
    expect_end(watching, "late_apply_failed")
    assert section(watching, "coverage") == []


def test_a_process_that_must_not_be_patched_stays_an_alert_as_long_as_it_runs(watching: Agent, fix: bytes, signer: Signer) -> None:
    ((pid, console),) = start_consoles(watching.host, 1).items()
    row = applied(watching, fix, signer)
    assert leaks(console) == FIXED
    watching.call("revert", {"payload_id": ID}).result()
    # Someone else's hook, four bytes into a function that is to be redirected.
    address = int(row["base"], 16) + max(site["rva"] for site in row["sites"]) + 4
    Module.of(watching.host, row).write({address: b"\xcc"})
    report = watching.call("apply", {"payload": sha256(fix)}).result()
    assert (report["summary"]["refused"], report["processes"][0]["verdict"]) == (1, "target_code_modified")
    expect_alert(watching, "late_apply_failed", LATE_APPLY_FAILED)
    time.sleep(SEVERAL_ROUNDS_S)
    expect_alert(watching, "late_apply_failed", LATE_APPLY_FAILED)
    assert events(watching, ALERT_ENDED) == []
    assert [(gap["pid"], gap["code"], gap["remedy"]) for gap in section(watching, "coverage")] == [
        (pid, "target_code_modified", "restart_process")
    ]
    watching.host.run(["taskkill", "/f", "/pid", str(pid)])
    expect_end(watching, "late_apply_failed")


def test_expired_and_revoked_payloads_are_told(watching: Agent, orders: OrdersService, signer: Signer) -> None:
    brief = signer.fix(lifetime=25)
    applied(watching, brief, signer)
    wait_for(lambda: alerts(watching) == ["payload_expired"], timeout=60)
    expect_alert(watching, "payload_expired", PAYLOAD_EXPIRED)
    watching.call("trust_set", signer.trusted(revoked_payloads=[sha256(brief)])).result()
    expect_alert(watching, "payload_revoked", PAYLOAD_REVOKED)
    assert any(text.startswith("Over: payload_expired") for text in events(watching, ALERT_ENDED))
    assert leaks(orders) == FIXED
    # What is in force is no gap; a new process that cannot have the fix any more is one.
    assert section(watching, "coverage") == []
    watching.host.service_stop("orders")
    watching.host.service_start("orders")
    time.sleep(SEVERAL_ROUNDS_S)
    assert leaks(orders) == VULNERABLE
    assert [(gap["pid"], gap["code"], gap["remedy"]) for gap in section(watching, "coverage")] == [
        (orders.pid(), "payload_revoked", "apply")
    ]


def test_metrics_are_whole_and_readable_at_every_moment(watching: Agent, orders: OrdersService, fix: bytes, signer: Signer) -> None:
    started = int(time.time())
    applied(watching, fix, signer)
    labels = {"payload": ID, "sequence": "1"}
    wait_for(lambda: sample(watching, "payload_processes", state="applied", **labels) == 1)
    assert (sample(watching, "payload_stop_seconds_max", **labels) or 0) >= 0
    assert sample(watching, "payloads_wanted") == 1
    assert (sample(watching, "watch_rounds_total") or 0) >= 1
    assert started - 1 <= (sample(watching, "last_watch_timestamp_seconds") or 0) <= time.time() + 1
    # Each change of trust makes the file new; a reader never meets a half of it.
    trust = [signer.trusted(revoked_keys=[f"{number:064x}"]) for number in range(8)]
    with ThreadPoolExecutor(1) as pool:
        changes = pool.submit(lambda: [watching.call("trust_set", change).result() for change in trust])
        read, written = 0, set[float]()
        while not changes.done():
            found = samples(watching)
            assert ("hotpatch_windows_agent_info", frozenset({"version": "0.1.0", "build": "lab"}.items())) in found
            written.add(found["hotpatch_windows_watch_rounds_total", frozenset()])
            read += 1
        assert changes.result()
    assert read > 10
    assert len(written) > 1
    assert [path.name for path in watching.file("metrics").iterdir()] == ["hotpatch_windows.prom"]
    assert orders.pid()
