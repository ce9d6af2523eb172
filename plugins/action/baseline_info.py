# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judges a host by catalog, policy and date."""

from __future__ import annotations

import typing as t

from ansible_collections.hotpatch.windows.plugins.plugin_utils._action import AgentAction, Arguments, Result
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.session import AgentSession
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import assess
from ansible_collections.hotpatch.windows.plugins.plugin_utils._judge import FACT_SECTIONS, catalog_of, date_of, facts_of, policy_of


class ActionModule(AgentAction):
    """``hotpatch.windows.baseline_info``"""

    def work(self, arguments: Arguments) -> Result:
        """Without a session when the facts were read before."""
        if arguments["info"] is not None:
            return self._judge(arguments, arguments["info"])
        return super().work(arguments)

    def perform(self, agent: AgentSession, arguments: Arguments) -> Result:
        """Read what judging needs, and judge."""
        # The verdict can fail on the options alone; a host need not be asked for that.
        policy_of(arguments), date_of(arguments["date"])
        return self._judge(arguments, agent.call("host_info", {"sections": FACT_SECTIONS}))

    def _judge(self, arguments: Arguments, info: dict[str, t.Any]) -> Result:
        catalog = catalog_of(arguments, self.find_file)
        assessment = assess(facts_of(info), catalog, policy_of(arguments), date_of(arguments["date"]))
        return {"changed": False, "assessment": assessment.as_dict()}
