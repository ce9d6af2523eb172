# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restarts a host and waits until it is up again."""

from __future__ import annotations

from ansible_collections.hotpatch.windows.plugins.plugin_utils._action import AgentAction, Arguments, Result
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.reboot import reboot_and_wait
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.session import AgentSession


class ActionModule(AgentAction):
    """``hotpatch.windows.reboot``"""

    def perform(self, agent: AgentSession, arguments: Arguments) -> Result:
        """The boot that is seen first is the one that is ended, and no later one."""
        info = agent.call("host_info", {"sections": ["boot", "pending_reboot"]})
        pending, boot_id = info["pending_reboot"], info["boot"]["id"]
        wanted = arguments["when"] == "always" or pending["required"]
        if wanted and not self.check_mode:
            boot_id = reboot_and_wait(
                agent,
                boot_id,
                delay=arguments["delay"],
                message=arguments["message"],
                timeout=arguments["timeout"],
                say=self.say,
            )
        return {"changed": wanted, "rebooted": wanted, "reasons": pending["reasons"], "boot_id": boot_id}
