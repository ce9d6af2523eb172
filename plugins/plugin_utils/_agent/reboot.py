# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Has the host really restarted?

The boot id lives in a volatile registry key: it is gone after a restart and cannot be the same by chance. A reboot is over when the
agent answers with another boot id, which also proves that the connection and the service are up again.
"""

from __future__ import annotations

import time
import typing as t
from collections.abc import Callable

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.session import AgentSession
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

# What an agent may answer while Windows is still starting it.
_STILL_STARTING: t.Final = frozenset({"agent_service_stopped", "agent_no_reply", "agent_busy"})
_FIRST_PAUSE: t.Final = 1.0
# A host that configures updates while it boots takes minutes; asking it more often than this gains nothing.
_LONGEST_PAUSE: t.Final = 10.0


def reboot_and_wait(
    agent: AgentSession,
    boot_id: str,
    *,
    delay: int,
    message: str,
    timeout: int,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Restart the host and wait until it is up.

    :param boot_id: the boot that is to end; if another one is running already, nothing is restarted.
    :returns: the id of the new boot.
    :raises HotpatchError: ``host_rebooting`` when the time is over.
    """
    deadline = clock() + delay + timeout
    answer = agent.call("reboot", {"delay_s": delay, "message": message, "boot_id": boot_id})
    if answer["changed"]:
        say(f"restarts in {delay} s")
        sleep(delay)
    pause = _FIRST_PAUSE
    while True:
        found = _boot_id(agent)
        if found and found != boot_id:
            say("is up again")
            return found
        if clock() >= deadline:
            raise HotpatchError(
                "host_rebooting",
                f"The host was told to restart and is not up again after {timeout} s.",
                details={"boot_id": boot_id, "answers": bool(found)},
            )
        sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _boot_id(agent: AgentSession) -> str:
    """The boot id, or empty while the host does not answer."""
    try:
        return str(agent.call("boot_id")["boot_id"])
    except AnsibleConnectionFailure:
        agent.carrier.reset()
        return ""
    except HotpatchError as error:
        if error.code not in _STILL_STARTING:
            raise
        return ""
