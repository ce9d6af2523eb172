# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads a host in one request."""

from __future__ import annotations

from ansible_collections.hotpatch.windows.plugins.plugin_utils._action import AgentAction, Arguments, Result
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.session import AgentSession


class ActionModule(AgentAction):
    """``hotpatch.windows.host_info``"""

    def perform(self, agent: AgentSession, arguments: Arguments) -> Result:
        """One request; its result is the result."""
        request = {} if arguments["sections"] is None else {"sections": arguments["sections"]}
        return {"changed": False, "info": agent.call("host_info", request)}
