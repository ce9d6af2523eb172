# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Does the service work? Asked in the same way before a change and after it."""

from __future__ import annotations

import time
import typing as t
import urllib.error
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ansible.module_utils.urls import ConnectionError as UrlsConnectionError
from ansible.module_utils.urls import SSLValidationError, open_url

from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.carriers import Completed

# More than a health page has; a probe must not fill the controller's memory.
_MOST_READ: t.Final = 1024 * 1024
_SHOWN: t.Final = 200


@dataclass(frozen=True)
class Answer:
    """What a probe found."""

    works: bool
    detail: str
    tries: int

    def as_dict(self) -> dict[str, t.Any]:
        """For the task's result."""
        return {"works": self.works, "detail": self.detail, "tries": self.tries}


def ask(
    probe: Mapping[str, t.Any],
    run_on_host: Callable[[str], Completed],
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Ask until the service works or the retries are used up.

    :param probe: the module's option ``probe``.
    :param run_on_host: runs a command line on the host.
    """
    detail = ""
    tries = probe["retries"] + 1
    for attempt in range(1, tries + 1):
        works, detail = _ask_url(probe) if probe["url"] is not None else _ask_command(probe, run_on_host)
        if works:
            return Answer(True, detail, attempt)
        if attempt < tries:
            sleep(1)
    return Answer(False, detail, tries)


def _ask_url(probe: Mapping[str, t.Any]) -> tuple[bool, str]:
    try:
        with open_url(probe["url"], timeout=probe["timeout"], validate_certs=probe["validate_certs"], use_proxy=False) as response:
            status, body = response.status, response.read(_MOST_READ)
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read(_MOST_READ)
    except (OSError, UrlsConnectionError, SSLValidationError, ValueError) as error:
        return False, f"{probe['url']} does not answer: {error}"
    if status != probe["status"]:
        return False, f"{probe['url']} answers with status {status}, not {probe['status']}"
    return _holds(probe, body.decode("utf-8", "replace"), f"{probe['url']} answers with status {status}")


def _ask_command(probe: Mapping[str, t.Any], run_on_host: Callable[[str], Completed]) -> tuple[bool, str]:
    done = run_on_host(probe["command"])
    text = done.stdout.decode("utf-8", "replace")
    if done.exit_code != 0:
        return False, f"the command ends with {done.exit_code}: {(done.stderr or text)[:_SHOWN]}"
    return _holds(probe, text, "the command ends with 0")


def _holds(probe: Mapping[str, t.Any], text: str, found: str) -> tuple[bool, str]:
    wanted = probe["contains"]
    if wanted is not None and wanted not in text:
        return False, f"{found}, but what it says does not contain '{wanted}': {text[:_SHOWN]}"
    return True, found
