# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request, one reply: whatever comes in, exactly one document goes out, and only a right request does anything."""

from __future__ import annotations

import json

import pytest
from agent_driver import HOME, SERVICE, Agent, Json

GOOD: Json = {"protocol": 1, "operation": "boot_id", "arguments": {}}
TRUST = HOME + r"\trust.json"


def changed(**changes: object) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


MALFORMED = {
    "nothing": b"",
    "not JSON": b"boot_id",
    "cut off": json.dumps(GOOD).encode()[:-1],
    "two documents": json.dumps(GOOD).encode() * 2,
    "a list": b"[1]",
    "a byte order mark in UTF-16": json.dumps(GOOD).encode("utf-16"),
    "ill-formed UTF-8": b'{"protocol": 1, "operation": "\xff", "arguments": {}}',
    "a key twice": b'{"protocol": 1, "operation": "boot_id", "operation": "reboot", "arguments": {}}',
    "a key of the arguments twice": b'{"protocol": 1, "operation": "job_status", "arguments": {"job": "a", "job": "b"}}',
    "nested a thousand times": b'{"protocol": 1, "operation": "boot_id", "arguments": ' + b'{"a":' * 1000 + b"1" + b"}" * 1001,
    "no protocol": b'{"operation": "boot_id", "arguments": {}}',
    "more than a MiB": json.dumps(GOOD).encode() + b" " * 2**20,
}

WRONG_ARGUMENTS = {
    "an unknown key": (changed(extra=1), "extra"),
    "an unknown argument": (changed(arguments={"boot": 1}), "arguments.boot"),
    "no arguments": (b'{"protocol": 1, "operation": "boot_id"}', "arguments"),
    "arguments that are a list": (changed(arguments=[]), "arguments"),
    "dry_run that is a number": (changed(dry_run=1), "dry_run"),
    "operation that is a number": (changed(operation=1), "operation"),
    "a hash in capitals": (changed(operation="preflight", arguments={"payload": "A" * 64}), "arguments.payload"),
    "a process id that is text": (changed(operation="preflight", arguments={"payload": "a" * 64, "pids": ["1"]}), "arguments.pids"),
    "a negative delay": (changed(operation="reboot", arguments={"delay_s": -1, "message": ""}), "arguments.delay_s"),
    "a delay that is a float": (changed(operation="reboot", arguments={"delay_s": 1.0, "message": ""}), "arguments.delay_s"),
    "a budget of an hour": (
        changed(operation="apply", arguments={"payload": "a" * 64, "stop_budget_us": 3_600_000_000}),
        "arguments.stop_budget_us",
    ),
    "an unknown section": (changed(operation="host_info", arguments={"sections": ["all"]}), "arguments.sections"),
    "an unknown key in a list": (
        changed(operation="enrollment_set", arguments={"values": [{"name": "HotPatchTableSize", "data": 1, "key": 1}]}),
        "arguments.values[0].key",
    ),
}


@pytest.mark.parametrize("mode", ["transient", "resident"])
def test_what_is_no_request_is_answered_with_one_error(agent: Agent, mode: str) -> None:
    if mode == "resident":
        agent.command("install").result()
    for name, request in MALFORMED.items():
        assert agent.command("call", request).code == "protocol_malformed", name


@pytest.mark.parametrize("mode", ["transient", "resident"])
def test_a_wrong_argument_is_refused_and_named(agent: Agent, mode: str) -> None:
    if mode == "resident":
        agent.command("install").result()
    for name, (request, where) in WRONG_ARGUMENTS.items():
        error = agent.command("call", request).error()
        assert (error["code"], error["where"]) == ("argument_invalid", where), name


def test_another_protocol_version_is_answered_with_both_numbers(resident: Agent) -> None:
    reply = resident.command("call", b'{"protocol": 2, "what": "ever"}')
    assert reply.code == "protocol_version"
    assert reply.error()["details"] == {"supported": 1, "requested": 2}
    assert reply.document["agent"]["version"]


def test_an_unknown_operation_is_called_so(agent: Agent) -> None:
    assert agent.call("format_disk").code == "operation_unknown"


def test_the_reply_says_who_answers(agent: Agent) -> None:
    transient = agent.call("boot_id").document
    assert (transient["protocol"], transient["agent"]["build"], transient["agent"]["mode"]) == (1, "lab", "transient")
    agent.command("install").result()
    resident = agent.call("boot_id").document
    assert resident["agent"]["mode"] == "resident"
    assert resident["agent"]["sha256"] == transient["agent"]["sha256"]
    assert json.loads(agent.raw("version")[1])["mode"] == "resident"


def test_text_beyond_ascii_passes_unharmed_in_both_directions(resident: Agent) -> None:
    name = "D\u00f6ner \u20ac \U0001f600"
    error = resident.call("enrollment_set", {"values": [{"name": name, "data": 1}]}).error()
    assert name in error["message"]


def test_a_stopped_service_is_named_and_nothing_is_done_on_the_side(resident: Agent) -> None:
    resident.host.service_stop(SERVICE)
    wanted: Json = {"keys": [], "revoked_keys": ["a" * 64], "revoked_payloads": []}
    reply = resident.call("trust_set", wanted)
    assert reply.code == "agent_service_stopped"
    assert not resident.host.path(TRUST).exists()
    resident.host.service_start(SERVICE)
    assert resident.call("trust_set", wanted).result()["changed"] is True


def test_a_dry_run_leaves_no_trace_on_a_host_without_the_agent(agent: Agent) -> None:
    wanted: Json = {"keys": [], "revoked_keys": ["a" * 64], "revoked_payloads": []}
    assert agent.call("trust_set", wanted, dry_run=True).result()["changed"] is True
    assert agent.call("agent_install", {"service": True}, dry_run=True).result()["changed"] is True
    assert not agent.host.path(HOME).exists()
    assert agent.host.service_state(SERVICE) == "absent"


def test_a_wrong_command_line_is_no_reply(agent: Agent) -> None:
    for command, arguments in (("nonsense", ()), ("call", ("extra",)), ("", ())):
        code, output, errors = agent.raw(command, b"", *arguments)
        assert (code, output) == (2, b"")
        assert b"usage" in errors


def test_serve_is_for_the_service_manager_only(agent: Agent) -> None:
    code, output, errors = agent.raw("serve")
    assert (code, output) == (2, b"")
    assert errors


def test_one_changer_at_a_time_and_readers_are_served_meanwhile(resident: Agent) -> None:
    resident.call("trust_set", {"keys": [], "revoked_keys": [], "revoked_payloads": []}).result()
    with resident.holding("lock"):
        assert resident.call("trust_set", {"keys": [], "revoked_keys": ["b" * 64], "revoked_payloads": []}).code == "agent_busy"
        assert resident.call("trust_get").result()["revoked_keys"] == []
        assert resident.call("boot_id").result()["boot_id"]
    assert resident.call("trust_set", {"keys": [], "revoked_keys": ["b" * 64], "revoked_payloads": []}).result()["changed"] is True
