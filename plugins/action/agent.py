# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Installs, upgrades and removes the agent, and sets whose payloads a host trusts."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hotpatch.windows.plugins.plugin_utils._action import AgentAction, Arguments, Result
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.session import AgentSession
from ansible_collections.hotpatch.windows.plugins.plugin_utils._trust import wanted_trust

_TRUST_OPTIONS: t.Final = ("trusted_keys", "revoked_keys", "revoked_payloads")


class ActionModule(AgentAction):
    """``hotpatch.windows.agent``"""

    def perform(self, agent: AgentSession, arguments: Arguments) -> Result:
        """Install before setting trust: the keys belong to the agent's folder."""
        if arguments["src"] is not None:
            agent.settings = dataclasses.replace(agent.settings, agent_path=self.find_file(arguments["src"]))
        if arguments["state"] == "absent":
            return self._remove(agent, arguments)
        trust = {name: arguments[name] for name in _TRUST_OPTIONS}
        wanted_trust(trust, {})  # a key that cannot be read is an error before anything is installed
        result = self._install(agent)
        before, after = self._versions(result)
        if any(value is not None for value in trust.values()):
            old, new, changed = self._set_trust(agent, trust, installed=result["previous"] is not None or not result["changed"])
            before["trust"], after["trust"] = old, new
            result["trust"] = new
            result["changed"] = result["changed"] or changed
        return self.with_diff(result, before, after)

    # -- installing ---------------------------------------------------------------------------------------------------------

    def _install(self, agent: AgentSession) -> Result:
        if self.check_mode:
            present, program = agent.find_programs()
            if not present:  # certainly a change; sending the program only to hear so would be one, too
                agent.own_sha256(required=True)
                previous = self._installed(agent, program) if program else None
                return {"changed": True, "path": None, "version": None, "previous": previous}
        answer = agent.call_own("agent_install", {"service": True}, dry_run=self.check_mode)
        return {name: answer[name] for name in ("changed", "path", "version", "previous")}

    def _installed(self, agent: AgentSession, program: str) -> dict[str, str | None]:
        agent.call("boot_id")
        return {"path": program, "version": agent.identity.version if agent.identity else None}

    def _versions(self, result: Result) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
        after = {"path": result["path"], "version": result["version"]}
        if not result["changed"]:
            return dict(after), after
        return dict(result["previous"] or {}), after

    # -- trust --------------------------------------------------------------------------------------------------------------

    def _set_trust(self, agent: AgentSession, trust: dict[str, t.Any], *, installed: bool) -> tuple[t.Any, t.Any, bool]:
        """The option says the whole wanted state of its part; parts that are not given stay as they are."""
        if self.check_mode and not installed:
            return {}, wanted_trust(trust, {}), True
        wanted = wanted_trust(trust, agent.call("trust_get"))
        answer = agent.call("trust_set", wanted, dry_run=self.check_mode)
        return answer["before"], answer["after"], bool(answer["changed"])

    # -- removing -----------------------------------------------------------------------------------------------------------

    def _remove(self, agent: AgentSession, arguments: Arguments) -> Result:
        request = {"keep_store": arguments["keep_store"], "revert": arguments["revert"]}
        if self.check_mode:
            present, installed = agent.find_programs()
            call = agent.call if present or installed else agent.call_own
            answer = call("agent_uninstall", request, dry_run=True)
        else:
            agent.use_a_copy()
            # Asked first: the removal itself begins with securing the folder, which would make one to remove.
            answer = agent.call_own("agent_uninstall", request, dry_run=True)
            if answer["changed"]:
                answer = agent.call_own("agent_uninstall", request)
        result: Result = {"changed": answer["changed"], "removed": answer["removed"]}
        return self.with_diff(result, {"present": answer["removed"]}, {"present": []})
