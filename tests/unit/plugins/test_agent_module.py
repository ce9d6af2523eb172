# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installing the agent, and whose payloads a host trusts."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.hotpatch.windows.plugins.action.agent import ActionModule
from ansible_collections.hotpatch.windows.plugins.plugin_utils._trust import wanted_trust

from .fakes import SERVICE_PROGRAM, FakeHost, Json, answers, own_program, run_action

INSTALLED = {"path": SERVICE_PROGRAM, "version": "0.1.0", "previous": None, "changed": True}


def pem(curve: ec.EllipticCurve) -> str:
    key = ec.generate_private_key(curve).public_key()
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def trusting_host(host: FakeHost) -> FakeHost:
    """A host that keeps its trust as the agent does."""
    state: Json = {"keys": [], "revoked_keys": ["a" * 64], "revoked_payloads": []}

    def change(arguments: Json, dry: bool) -> Json:
        before, changed = dict(state), arguments != state
        if not dry:
            state.update(arguments)
        return {"before": before, "after": arguments, "changed": changed}

    host.handlers |= {"trust_get": lambda _a, _d: dict(state), "trust_set": change}
    return host


def test_installing_on_a_bare_host_sends_the_program(agent: Path) -> None:
    host = FakeHost(answers(agent_install=INSTALLED))
    result = run_action(ActionModule, host, {}, agent=agent, diff=True)
    assert result["changed"] is True
    assert host.uploaded == [str(agent)]
    assert result["diff"] == {"before": {}, "after": {"path": SERVICE_PROGRAM, "version": "0.1.0"}}


def test_check_mode_on_a_bare_host_sends_nothing_and_says_changed(agent: Path) -> None:
    host = FakeHost(answers(agent_install=INSTALLED))
    result = run_action(ActionModule, host, {"trusted_keys": []}, agent=agent, check=True)
    assert result["changed"] is True
    assert host.uploaded == []
    assert host.calls == []


def test_an_installed_agent_of_this_release_is_left_alone(host: FakeHost, agent: Path) -> None:
    host.handlers = answers(agent_install={**INSTALLED, "changed": False})
    assert run_action(ActionModule, host, {}, agent=agent)["changed"] is False
    assert host.uploaded == []


def test_trust_is_set_once(host: FakeHost, agent: Path) -> None:
    host.handlers = answers(agent_install={**INSTALLED, "changed": False})
    trusting_host(host)
    text = pem(ec.SECP256R1())
    options = {"trusted_keys": [{"name": "security", "public_key": text, "not_after": "2027-12-31"}]}
    first = run_action(ActionModule, host, options, agent=agent)
    second = run_action(ActionModule, host, options, agent=agent)
    assert (first["changed"], second["changed"]) == (True, False)
    der = base64.b64decode(first["trust"]["keys"][0]["public_key"])
    assert serialization.load_der_public_key(der)
    assert first["trust"]["keys"][0]["not_after"] == 1830297599


def test_what_is_not_given_stays_as_it_is(host: FakeHost, agent: Path) -> None:
    host.handlers = answers(agent_install={**INSTALLED, "changed": False})
    trusting_host(host)
    result = run_action(ActionModule, host, {"revoked_payloads": ["B" * 64]}, agent=agent)
    assert result["trust"] == {"keys": [], "revoked_keys": ["a" * 64], "revoked_payloads": ["b" * 64]}


@pytest.mark.parametrize(
    "options",
    [
        {"trusted_keys": [{"name": "x", "public_key": "no key"}]},
        {"trusted_keys": [{"name": "x", "public_key": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}]},
        {"trusted_keys": [{"name": "x", "public_key": pem(ec.SECP384R1())}]},
        {"trusted_keys": [{"name": "x", "public_key": pem(ec.SECP256R1()), "not_after": "soon"}]},
        {"trusted_keys": [{"name": "x"}]},
        {"revoked_keys": ["12"]},
    ],
)
def test_a_bad_key_is_refused_before_anything_is_installed(host: FakeHost, agent: Path, options: Json) -> None:
    result = run_action(ActionModule, host, options, agent=agent)
    assert result["error"]["code"] == "argument_invalid"
    assert host.runs == []


def test_removing_is_done_by_a_copy_that_is_not_in_the_folder_to_be_removed(host: FakeHost, agent: Path) -> None:
    host.handlers = answers(agent_uninstall={"changed": True, "removed": ["x"]})
    result = run_action(ActionModule, host, {"state": "absent"}, agent=agent)
    assert result["changed"] is True
    assert host.uploaded == [str(agent)]
    assert host.calls[-1].program not in (own_program(agent), SERVICE_PROGRAM)
    assert host.calls[-1].arguments == {"keep_store": False, "revert": True}


def test_a_dry_run_of_removing_asks_whatever_agent_is_installed(agent: Path) -> None:
    host = FakeHost(answers(agent_uninstall={"changed": True, "removed": ["x"]}), {SERVICE_PROGRAM}, service_image=SERVICE_PROGRAM)
    assert run_action(ActionModule, host, {"state": "absent"}, agent=agent, check=True)["changed"] is True
    assert (host.calls[-1].program, host.calls[-1].dry_run, host.uploaded) == (SERVICE_PROGRAM, True, [])


def test_the_place_is_the_hash_of_the_program(agent: Path) -> None:
    assert hashlib.sha256(agent.read_bytes()).hexdigest() in own_program(agent)


def test_without_options_nothing_is_trusted_by_accident() -> None:
    options = {"trusted_keys": None, "revoked_keys": None, "revoked_payloads": None}
    assert wanted_trust(options, {}) == {"keys": [], "revoked_keys": [], "revoked_payloads": []}
