# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""How far is the installer on the host, and how did it end?

The job belongs to the host and goes on without a connection. Only asking is repeated here, which starts nothing twice.
"""

from __future__ import annotations

import time
import typing as t
from collections.abc import Callable

from ansible.errors import AnsibleConnectionFailure

from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.session import AgentSession
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import ERRORS, HotpatchError

# An update of the network driver's package can cut the connection for a minute or two; a host that is gone for longer is gone.
_SILENCE: t.Final = 300.0
_SHOWN_STEP: t.Final = 5


def wait_for_job(
    agent: AgentSession,
    job: str,
    *,
    name: str,
    poll_interval: int,
    timeout: int,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, t.Any]:
    """Wait until a job has succeeded, showing every phase and every few per cent.

    :param name: what the job is called in what is shown.
    :returns: its last status.
    :raises HotpatchError: the job's own error, or ``agent_busy`` when the time is over and it still runs.
    :raises AnsibleConnectionFailure: the host did not answer for five minutes.
    """
    deadline = clock() + timeout
    heard = clock()
    shown = ""
    while True:
        try:
            status = agent.call("job_status", {"job": job})
            heard = clock()
        except AnsibleConnectionFailure:
            if clock() - heard > _SILENCE:
                raise
            agent.carrier.reset()
        else:
            if status["state"] == "succeeded":
                return status
            if status["state"] == "failed":
                raise _failure(status, name)
            shown = _show(status, name, shown, say)
        if clock() >= deadline:
            raise HotpatchError(
                "agent_busy",
                f"{name} is still being installed after {timeout} s; the job goes on.",
                where=job,
                remedy="Run the task again: it finds the job and waits for it.",
            )
        sleep(poll_interval)


def _show(status: dict[str, t.Any], name: str, shown: str, say: Callable[[str], None]) -> str:
    percent = status["percent"]
    step = "" if percent is None else f" {percent // _SHOWN_STEP * _SHOWN_STEP} %"
    now = f"{name}: {status['phase']}{step}"
    if now != shown:
        say(now)
    return now


def _failure(status: dict[str, t.Any], name: str) -> HotpatchError:
    error = status["error"] or {}
    code = error.get("code") if error.get("code") in ERRORS else "package_install_failed"
    return HotpatchError(
        str(code),
        error.get("message") or f"The installer of {name} failed.",
        where=error.get("where") or name,
        remedy=error.get("remedy") or "",
        details={**(error.get("details") or {}), "job": status["job"], "exit_code": status["exit_code"], "phase": status["phase"]},
    )
