# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets or removes the registry values that enrol a host."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hotpatch.windows.plugins.plugin_utils._action import AgentAction, Arguments, Result
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.session import AgentSession
from ansible_collections.hotpatch.windows.plugins.plugin_utils._enrollment import Plan, plan_enrollment
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError
from ansible_collections.hotpatch.windows.plugins.plugin_utils._judge import FACT_SECTIONS


class ActionModule(AgentAction):
    """``hotpatch.windows.enrollment``"""

    def perform(self, agent: AgentSession, arguments: Arguments) -> Result:
        """Judge first; write only what a host that can be enrolled needs."""
        enroll = arguments["state"] == "enrolled"
        info = agent.call("host_info", {"sections": FACT_SECTIONS})
        plan = plan_enrollment(info, enroll=enroll)
        if plan.obstacles:
            return self._refused(plan)
        answer = self._write(agent, plan, info)
        result: Result = {
            "changed": answer["changed"],
            "state": arguments["state"],
            "before": answer["before"],
            "after": answer["after"],
            "prerequisites": plan.prerequisites_after(info, answer["after"]),
            "reboot_required": plan.needs_reboot(info, answer["before"], answer["after"]),
        }
        return self.with_diff(result, answer["before"], answer["after"])

    def _write(self, agent: AgentSession, plan: Plan, info: dict[str, t.Any]) -> dict[str, t.Any]:
        if plan.written(info):  # nothing to ask for, so that a host that has left needs no agent for staying out
            return {"changed": False, "before": info["enrollment"], "after": info["enrollment"]}
        values = [{"name": name, "data": data} for name, data in sorted(plan.values.items())]
        return agent.call("enrollment_set", {"values": values}, dry_run=self.check_mode)

    def _refused(self, plan: Plan) -> Result:
        rows: list[dict[str, t.Any]] = [dataclasses.asdict(row) for row in plan.prerequisites]
        error = HotpatchError(
            "enrollment_prerequisite",
            " ".join(row.text for row in plan.obstacles),
            where=self.host,
            remedy=" ".join(row.remedy for row in plan.obstacles),
            details={"unmet": [row.code for row in plan.obstacles]},
        )
        return {"failed": True, "changed": False, "msg": str(error), "error": error.as_dict(), "prerequisites": rows}
