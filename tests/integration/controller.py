# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible as a user runs it: a process of its own, with an inventory of lab hosts, whose events are read like AWX reads them."""

from __future__ import annotations

import json
import os
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import ansible_runner
import yaml

from lab.host import Host

Json = dict[str, t.Any]
ROOT = Path(__file__).parents[2]
LAB_AGENT = ROOT / ".build" / "agent" / "hotpatch-agent-lab.exe"

# How a result ended is said by the kind of its event; from ansible-core 2.19 on the result itself does not repeat it.
_ENDINGS: dict[str, Json] = {
    "runner_on_ok": {},
    "runner_item_on_ok": {},
    "runner_on_failed": {"failed": True},
    "runner_item_on_failed": {"failed": True},
    "runner_on_unreachable": {"unreachable": True},
}


@dataclass
class Outcome:
    """What one run of Ansible came to."""

    status: str
    stats: dict[str, dict[str, int]]
    artifacts: Json
    events: list[Json] = field(repr=False)
    output: str = field(repr=False)

    def results(self, task: str, host: str | None = None) -> list[Json]:
        """The results of a task by its name, items of loops apart."""
        return [
            {**event["event_data"]["res"], **_ENDINGS[event["event"]]}
            for event in self.events
            if event["event"] in _ENDINGS and event["event_data"].get("task") == task and host in (None, event["event_data"].get("host"))
        ]

    def result(self, task: str, host: str | None = None) -> Json:
        """The only result of a task."""
        (only,) = self.results(task, host)
        return only

    def count(self, kind: str) -> int:
        """How often the hosts were ``changed``, ``failures``, ``dark`` (unreachable) or ``rescued``, all together."""
        return sum(self.stats.get(kind, {}).values())

    def expect(self, status: str = "successful") -> Outcome:
        """Fail with Ansible's own output when the run came out differently."""
        assert self.status == status, self.output
        return self


@dataclass
class Controller:
    """Runs playbooks against hosts of the lab."""

    folder: Path
    runs: int = 0

    def play(
        self,
        playbook: str | Sequence[Mapping[str, t.Any]],
        hosts: Sequence[Host],
        *,
        check: bool = False,
        variables: Mapping[str, t.Any] | None = None,
        host_variables: Mapping[str, Mapping[str, t.Any]] | None = None,
        limit: str | None = None,
    ) -> Outcome:
        """Run a playbook of the collection by its name, or plays given as data.

        :param variables: extra variables.
        :param host_variables: variables by host name, beside those of the lab's inventory.
        """
        self.runs += 1
        place = self.folder / f"run{self.runs}"
        (place / "project").mkdir(parents=True)
        inventory = {host.name: {**host.inventory(), **(host_variables or {}).get(host.name, {})} for host in hosts}
        (place / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": inventory}}))
        if not isinstance(playbook, str):
            (place / "project" / "playbook.yml").write_text(json.dumps(list(playbook)))
        name = playbook if isinstance(playbook, str) else "playbook.yml"
        run = ansible_runner.run(
            private_data_dir=str(place),
            playbook=name,
            inventory=str(place / "inventory.yml"),
            extravars=dict(variables or {}),
            cmdline="--diff" + (" --check" if check else "") + (f" --limit {limit}" if limit else ""),
            envvars=self._environment(),
            quiet=True,
        )
        events = list(run.events)
        last: Json = next((event["event_data"] for event in reversed(events) if event["event"] == "playbook_on_stats"), {})
        stats = {kind: last.get(kind, {}) for kind in ("ok", "changed", "failures", "dark", "rescued", "skipped")}
        return Outcome(run.status, stats, last.get("artifact_data", {}), events, run.stdout.read())

    def task(
        self,
        module: str,
        arguments: Mapping[str, t.Any],
        host: Host,
        *,
        check: bool = False,
        variables: Mapping[str, t.Any] | None = None,
    ) -> Json:
        """Run one module of the collection on one host and give its result."""
        task = {"name": "task", f"hotpatch.windows.{module}": dict(arguments)}
        play = {"name": "play", "hosts": "all", "gather_facts": False, "tasks": [task]}
        outcome = self.play([play], [host], check=check, host_variables={host.name: variables or {}})
        results = outcome.results("task")
        assert len(results) == 1, outcome.output
        return results[0]

    def _environment(self) -> dict[str, str]:
        return {
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build"),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_CONNECTION_PLUGINS": str(ROOT / "tests" / "integration" / "plugins" / "connection"),
            "PYTHONPATH": str(ROOT / "tests"),
            "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        }
