# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Applies a payload to running processes, or reverts it."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.hotpatch.windows.plugins.plugin_utils._action import AgentAction, Arguments, Result, failed
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.session import AgentSession
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.transfer import Source, bring, checked_sha256, local_source
from ansible_collections.hotpatch.windows.plugins.plugin_utils._docs import Rules
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import ERRORS, HotpatchError, Outcome
from ansible_collections.hotpatch.windows.plugins.plugin_utils._probe import Answer, ask

Report = dict[str, t.Any]

_FINE: t.Final = frozenset({"applied", "reverted", "already_applied", "already_reverted", "would_apply", "would_revert"})


class ActionModule(AgentAction):
    """``hotpatch.windows.hotpatch``"""

    rules = Rules(
        required_if=[("state", "applied", ("src", "sha256"), True), ("state", "reverted", ("payload_id",))],
        mutually_exclusive=[("src", "payload_id"), ("sha256", "payload_id")],
    )

    def perform(self, agent: AgentSession, arguments: Arguments) -> Result:
        """Ask, change, ask again; undo when the service worked before and does not work after."""
        self._check(arguments)
        change = self._apply if arguments["state"] == "applied" else self._revert
        before = self._probe(agent, arguments)
        if before is not None and not before.works:
            return self._not_begun(before)
        report = change(agent, arguments)
        result = self._result(report, arguments)
        if before is None:
            return result
        after = self._probe_after(agent, arguments, report)
        result["probe"] = {"before": before.as_dict(), "after": after and after.as_dict()}
        if after is not None and not after.works:
            return self._undo(agent, arguments, report, result)
        return result

    def _check(self, arguments: Arguments) -> None:
        probe = arguments["probe"]
        if probe is not None and (probe["url"] is None) == (probe["command"] is None):
            code = "argument_invalid" if probe["url"] is None else "argument_conflict"
            raise HotpatchError(code, "A probe needs exactly one of 'url' and 'command'.", where="probe")

    # -- the change ---------------------------------------------------------------------------------------------------------

    def _apply(self, agent: AgentSession, arguments: Arguments) -> Report:
        source = self._source(arguments)
        only_for_the_check = False
        if self.check_mode:
            only_for_the_check = bring(agent, [source], dry_run=True, say=self.say)[0].changed
        if not self.check_mode or only_for_the_check:
            bring(agent, [source], dry_run=False, say=self.say)
        try:
            request = {"payload": source.sha256, "persist": arguments["persist"], **self._limits(arguments)}
            return agent.call("apply", request, dry_run=self.check_mode)
        finally:
            if only_for_the_check:
                agent.call("store_remove", {"objects": [source.sha256]})

    def _source(self, arguments: Arguments) -> Source:
        if arguments["src"] is not None:
            return local_source(self.find_file(arguments["src"]), arguments["sha256"], "sha256")
        return Source(checked_sha256(arguments["sha256"], "sha256"))

    def _revert(self, agent: AgentSession, arguments: Arguments) -> Report:
        request = {"payload_id": arguments["payload_id"], **self._limits(arguments)}
        return agent.call("revert", request, dry_run=self.check_mode)

    def _limits(self, arguments: Arguments) -> dict[str, t.Any]:
        limits: dict[str, t.Any] = {"stop_budget_us": arguments["stop_budget"], "wait_budget_ms": arguments["wait_budget"]}
        if arguments["pids"] is not None:
            limits["pids"] = arguments["pids"]
        return limits

    # -- the result ---------------------------------------------------------------------------------------------------------

    def _result(self, report: Report, arguments: Arguments) -> Result:
        result: Result = {name: report[name] for name in ("changed", "payload", "processes", "summary")}
        self.with_diff(result, *_states(report))
        counted = {Outcome(name) for name in arguments["fail_on"]} | {Outcome.INCONSISTENT}
        bad = [process for process in report["processes"] if _outcome(process) in counted]
        if bad:
            result.update(_failure(bad))
        return result

    # -- the probe ----------------------------------------------------------------------------------------------------------

    def _probe(self, agent: AgentSession, arguments: Arguments) -> Answer | None:
        return None if arguments["probe"] is None else ask(arguments["probe"], agent.carrier.shell)

    def _probe_after(self, agent: AgentSession, arguments: Arguments, report: Report) -> Answer | None:
        """Only a change is worth asking again for."""
        return self._probe(agent, arguments) if report["changed"] and not self.check_mode else None

    def _not_begun(self, before: Answer) -> Result:
        error = HotpatchError("probe_failed_before", f"The service does not work: {before.detail}.", where=self.host)
        return failed(error, changed=False, probe={"before": before.as_dict(), "after": None})

    def _undo(self, agent: AgentSession, arguments: Arguments, report: Report, result: Result) -> Result:
        """Put the service back to where it worked, and keep what both halves reported."""
        detail = result["probe"]["after"]["detail"]
        error = HotpatchError("probe_failed_after", f"The service does not work after the change: {detail}.", where=self.host)
        halves: Result = {"probe": result["probe"], "payload": result["payload"], "apply": report, "revert": None}
        if arguments["state"] == "applied":
            request = {"payload_id": report["payload"]["id"], **self._limits(arguments)}
            try:
                halves["revert"] = agent.call("revert", request)
            except (HotpatchError, AnsibleConnectionFailure) as second:
                error.details["revert"] = second.as_dict() if isinstance(second, HotpatchError) else str(second)
                error.remedy = "The payload is still in force: revert it, or restart the service."
            else:
                halves["probe"]["reverted"] = ask(arguments["probe"], agent.carrier.shell).as_dict()
        undone = halves["revert"] is not None and all(_outcome(one) is None for one in halves["revert"]["processes"])
        return failed(error, changed=not undone, **halves)


def _outcome(process: dict[str, t.Any]) -> Outcome | None:
    """The class of a process' verdict; None when all is well."""
    if process["verdict"] in _FINE:
        return None
    row = ERRORS.get(process["verdict"])
    return Outcome.FAILED if row is None else row.outcome


def _failure(bad: list[dict[str, t.Any]]) -> Result:
    """The failure is that of the worst process, and names them all."""
    order = (Outcome.INCONSISTENT, Outcome.FAILED, Outcome.BUSY, Outcome.REFUSED)
    worst = min(bad, key=lambda process: order.index(_outcome(process) or Outcome.REFUSED))
    code = worst["verdict"] if worst["verdict"] in ERRORS else "agent_internal"
    words = "; ".join(f"{process['image']} ({process['pid']}): {process['message']}" for process in bad)
    return failed(HotpatchError(code, words, where=worst["image"], details={"pids": [process["pid"] for process in bad]}))


def _states(report: Report) -> tuple[dict[str, str], dict[str, str]]:
    """Per process, how it was and how it is (or would be)."""
    becomes = {"applied": "applied", "would_apply": "applied", "reverted": "not_applied", "would_revert": "not_applied"}
    was = {"applied": "not_applied", "would_apply": "not_applied", "reverted": "applied", "would_revert": "applied"}
    before, after = {}, {}
    for process in report["processes"]:
        name = f"{process['image']} ({process['pid']})"
        before[name] = was.get(process["verdict"], process["state"])
        after[name] = becomes.get(process["verdict"], process["state"])
    return before, after
