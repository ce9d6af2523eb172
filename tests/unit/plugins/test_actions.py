# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every action does: errors into results, a lost host into unreachable, options of the carrier."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleAuthenticationFailure, AnsibleConnectionFailure

from ansible_collections.hotpatch.windows.plugins.action.host_info import ActionModule as HostInfo
from ansible_collections.hotpatch.windows.plugins.action.reboot import ActionModule as Reboot
from ansible_collections.hotpatch.windows.plugins.action.stage import ActionModule as Stage
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.carriers import Completed, Missing, WinrsCarrier
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError
from ansible_collections.hotpatch.windows.plugins.plugin_utils._probe import ask

from .fakes import FakeHost, Json, answers, run_action


def test_a_result_says_which_agent_answered_and_stays_small(host: FakeHost, agent: Path) -> None:
    host.handlers = answers(host_info={"host": {"ubr": 1}})
    result = run_action(HostInfo, host, {"sections": ["host"]}, agent=agent)
    assert result == {"changed": False, "info": {"host": {"ubr": 1}}, "agent": {"version": "0.1.0", "mode": "resident"}, "shown": []}
    assert host.calls[0].arguments == {"sections": ["host"]}


def test_what_was_sent_is_removed_even_after_a_failure(agent: Path) -> None:
    host = FakeHost(answers(host_info=HotpatchError("agent_internal")))
    assert run_action(HostInfo, host, {}, agent=agent)["failed"] is True
    assert host.cleaned == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AnsibleConnectionFailure("refused"), "host_unreachable"),
        (AnsibleAuthenticationFailure("wrong password"), "access_denied"),
        (AnsibleConnectionFailure("psrp: failed to authenticate with the server"), "access_denied"),
    ],
)
def test_a_host_that_cannot_be_reached_is_unreachable_with_a_code(agent: Path, error: Exception, code: str) -> None:
    class Gone(FakeHost):
        def run(self, *_args: object, **_kwargs: object) -> Completed:
            raise error

    result = run_action(HostInfo, Gone(), {}, agent=agent)
    assert (result["unreachable"], result["error"]["code"]) == (True, code)


def test_a_host_that_goes_away_in_the_middle_is_told_from_one_that_never_answered(host: FakeHost, agent: Path) -> None:
    def vanish(_arguments: Json, _dry: bool) -> Json:
        raise AnsibleConnectionFailure("reset by peer")

    host.handlers = answers(host_info={"boot": {"id": "b"}, "pending_reboot": {"required": True, "reasons": []}})
    host.handlers["reboot"] = vanish
    result = run_action(Reboot, host, {}, agent=agent)
    assert (result["unreachable"], result["error"]["code"]) == (True, "host_rebooting")


def test_a_play_that_wants_to_rescue_a_lost_host_gets_a_failure(host: FakeHost, agent: Path) -> None:
    host.gone, host.reached = 1, False
    result = run_action(HostInfo, host, {}, agent=agent, variables={"hotpatch_windows_unreachable_fails": True})
    assert (result["failed"], result.get("unreachable"), result["error"]["code"]) == (True, None, "host_unreachable")


def test_a_question_whose_answer_got_lost_is_asked_once_more(host: FakeHost, agent: Path) -> None:
    host.handlers = answers(host_info={"host": {"ubr": 1}})
    host.gone = 1
    assert run_action(HostInfo, host, {}, agent=agent)["info"] == {"host": {"ubr": 1}}
    assert host.resets == 1
    host.gone = 2
    assert run_action(HostInfo, host, {}, agent=agent)["unreachable"] is True


def test_a_program_that_did_not_start_is_started_once_more(host: FakeHost, agent: Path) -> None:
    def refuse_to_start(_arguments: Json, _dry: bool) -> Json:
        host.not_started = 1
        return {"boot": {"id": "b"}, "pending_reboot": {"required": True, "reasons": []}}

    host.handlers = {**answers(reboot=HotpatchError("access_denied")), "host_info": refuse_to_start}
    host.not_started = 1
    assert run_action(Reboot, host, {}, agent=agent)["error"]["code"] == "access_denied"
    assert host.operations() == ["host_info", "reboot"]


def test_a_program_that_never_starts_is_reported(host: FakeHost, agent: Path) -> None:
    host.handlers = answers(host_info={"host": {"ubr": 1}})
    host.not_started = 2
    assert run_action(HostInfo, host, {}, agent=agent)["error"]["code"] == "agent_no_reply"
    assert host.operations() == []


def test_a_change_whose_answer_got_lost_is_not_made_again(host: FakeHost, agent: Path) -> None:
    asked = []

    def vanish(_arguments: Json, _dry: bool) -> Json:
        asked.append("reboot")
        raise AnsibleConnectionFailure("reset by peer")

    host.handlers = answers(host_info={"boot": {"id": "b"}, "pending_reboot": {"required": True, "reasons": []}})
    host.handlers["reboot"] = vanish
    assert run_action(Reboot, host, {}, agent=agent)["unreachable"] is True
    assert asked == ["reboot"]


@pytest.mark.parametrize(
    "variables", [{"hotpatch_windows_agent_mode": "sometimes"}, {"hotpatch_windows_lab": "perhaps"}], ids=["mode", "lab"]
)
def test_variables_of_the_wrong_kind_are_named(host: FakeHost, agent: Path, variables: Json) -> None:
    result = run_action(HostInfo, host, {}, agent=agent, variables=variables)
    assert result["error"]["code"] == "argument_invalid"
    assert result["error"]["where"] == next(iter(variables))


def test_a_reboot_that_nothing_waits_for_is_not_made(host: FakeHost, agent: Path) -> None:
    host.handlers = answers(host_info={"boot": {"id": "b"}, "pending_reboot": {"required": False, "reasons": []}})
    assert run_action(Reboot, host, {}, agent=agent)["changed"] is False
    assert host.changes() == []


# -- stage -------------------------------------------------------------------------------------------------------------------


def test_only_missing_files_are_sent_and_each_once(host: FakeHost, agent: Path, tmp_path: Path) -> None:
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.write_bytes(b"there")
    missing.write_bytes(b"missing")
    sha = hashlib.sha256(b"there").hexdigest()
    host.handlers = answers(store_query={"present": {sha: 5}, "free_bytes": 1})
    files = [{"src": str(there)}, {"src": str(missing)}, {"src": str(missing)}]
    result = run_action(Stage, host, {"files": files}, agent=agent)
    assert [row["changed"] for row in result["objects"]] == [False, True, False]
    assert [content for _, content in host.put] == [b"missing"]


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ({}, "argument_invalid"),
        ({"src": "a", "url": "http://b"}, "argument_conflict"),
        ({"url": "http://b"}, "argument_invalid"),
        ({"url": "ftp://b", "sha256": "0" * 64}, "argument_invalid"),
        ({"url": "http://b", "sha256": "12"}, "argument_invalid"),
    ],
)
def test_a_file_without_a_clear_source_is_refused_before_the_host_is_asked(host: FakeHost, agent: Path, entry: Json, code: str) -> None:
    result = run_action(Stage, host, {"files": [entry]}, agent=agent)
    assert (result["error"]["code"], host.runs) == (code, [])


def test_a_dry_run_sends_nothing(host: FakeHost, agent: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    host.handlers = answers(store_query={"present": {}, "free_bytes": 1})
    result = run_action(Stage, host, {"files": [{"src": str(file)}]}, agent=agent, check=True)
    assert (result["changed"], host.put) == (True, [])


# -- the winrs carrier -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Shell:
    """The part of the connection winrs that the carrier uses."""

    output: tuple[int, bytes, bytes]
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    commands: list[str] = dataclasses.field(default_factory=list)
    established: bool = True

    def run_program(self, command: str, stdin: object = (), *, sink: object = None, progress: object = None) -> tuple[int, bytes, bytes]:
        del stdin, sink, progress
        self.commands.append(command)
        return self.output

    def put_stream(self, source: Path, destination: str, progress: object = None) -> None:
        raise AssertionError(f"not used: {source} {destination} {progress}")

    def reset(self) -> None:
        raise AssertionError("not used")


def test_a_missing_program_comes_with_the_services_image() -> None:
    listing = b'\r\nHKEY_LOCAL_MACHINE\\SYSTEM\r\n    ImagePath    REG_EXPAND_SZ    "C:\\a b\\hotpatch-agent.exe" serve\r\n'
    assert WinrsCarrier(Shell((39, listing, b""))).run("x.exe", ["call"], b"") == Missing(r'"C:\a b\hotpatch-agent.exe" serve')
    assert WinrsCarrier(Shell((39, b"", b""))).run("x.exe", ["call"], b"") == Missing("")


def test_a_folder_that_could_not_be_closed_to_others_is_not_used(agent: Path) -> None:
    shell = Shell((5, b"", b"Access is denied."))
    with pytest.raises(HotpatchError) as caught:
        WinrsCarrier(shell).upload(agent, "hotpatch-agent.exe")
    assert caught.value.code == "access_denied"
    assert "/inheritance:r" in shell.commands[0]


# -- the probe ---------------------------------------------------------------------------------------------------------------

PROBE: Json = {"url": None, "command": None, "status": 200, "contains": None, "validate_certs": True, "timeout": 5, "retries": 0}


@pytest.fixture
def url() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503 if self.path == "/down" else 200)
            self.end_headers()
            self.wfile.write(b"all is well")

        def log_message(self, *_args: object) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "options", "works"),
    [
        ("/", {}, True),
        ("/down", {}, False),
        ("/down", {"status": 503}, True),
        ("/", {"contains": "well"}, True),
        ("/", {"contains": "ill"}, False),
    ],
)
def test_a_url_is_judged_by_status_and_content(url: str, path: str, options: Json, works: bool) -> None:
    assert ask({**PROBE, "url": url + path, **options}, lambda _c: Completed(1, b"", "")).works is works


def test_nobody_listening_is_not_working_and_is_tried_again() -> None:
    pauses: list[float] = []
    answer = ask({**PROBE, "url": "http://127.0.0.1:9/", "retries": 2}, lambda _c: Completed(1, b"", ""), pauses.append)
    assert (answer.works, answer.tries, len(pauses)) == (False, 3, 2)


def test_a_command_is_judged_by_exit_code_and_output() -> None:
    for code, contains, works in ((0, None, True), (1, None, False), (0, "ready", True), (0, "else", False)):
        done = Completed(code, b"ready", "")
        assert ask({**PROBE, "command": "x", "contains": contains}, {"x": done}.__getitem__).works is works


def test_become_over_winrs_is_refused_instead_of_ignored(agent: Path) -> None:
    connection = SimpleNamespace(runs_programs=True, become=object(), transport="winrs", _shell=SimpleNamespace(tmpdir=None))
    task = SimpleNamespace(args={}, async_val=0, check_mode=False, diff=False, delegate_to=None, action="test", environment=None)
    plugin = HostInfo(task, connection, None, None, SimpleNamespace(template=lambda value: value))
    result = plugin.run(task_vars={"inventory_hostname": "web1", "hotpatch_windows_agent_path": str(agent)})
    assert result["error"]["code"] == "argument_conflict"
