# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings files into a host's store, or removes them from it."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hotpatch.windows.plugins.plugin_utils._action import AgentAction, Arguments, Result
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.session import AgentSession
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.transfer import (
    Source,
    Staged,
    bring,
    checked_sha256,
    local_source,
    pulled_source,
)
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError


class ActionModule(AgentAction):
    """``hotpatch.windows.stage``"""

    def perform(self, agent: AgentSession, arguments: Arguments) -> Result:
        """All files are checked here before the first is sent."""
        if arguments["state"] == "absent":
            staged = self._remove(agent, [self._hash_of(entry, f"files[{i}]") for i, entry in enumerate(arguments["files"])])
            gone, there = "present", "absent"
        else:
            sources = [self._source_of(entry, f"files[{i}]") for i, entry in enumerate(arguments["files"])]
            staged = bring(agent, sources, dry_run=self.check_mode, say=self.say)
            gone, there = "absent", "present"
        changed = [one.sha256 for one in staged if one.changed]
        result: Result = {"changed": bool(changed), "objects": [dataclasses.asdict(one) for one in staged]}
        return self.with_diff(result, dict.fromkeys(changed, gone), dict.fromkeys(changed, there))

    def _source_of(self, entry: dict[str, t.Any], where: str) -> Source:
        if entry["src"] is not None and entry["url"] is not None:
            raise HotpatchError("argument_conflict", "'src' and 'url' exclude each other.", where=where)
        if entry["src"] is not None:
            return local_source(self.find_file(entry["src"], f"{where}.src"), entry["sha256"], where)
        if entry["url"] is None:
            raise HotpatchError("argument_invalid", "One of 'src' and 'url' is needed.", where=where)
        return pulled_source(entry["url"], entry["sha256"], entry["size"], entry["proxy"], where)

    def _hash_of(self, entry: dict[str, t.Any], where: str) -> str:
        if entry["sha256"] is not None:
            return checked_sha256(entry["sha256"], where)
        if entry["src"] is not None:
            return local_source(self.find_file(entry["src"], f"{where}.src"), None, where).sha256
        raise HotpatchError("argument_invalid", "One of 'sha256' and 'src' is needed to remove a file.", where=where)

    def _remove(self, agent: AgentSession, objects: list[str]) -> list[Staged]:
        answer = agent.call("store_remove", {"objects": sorted(set(objects))}, dry_run=self.check_mode)
        return [Staged(sha256, None, sha256 in answer["removed"]) for sha256 in objects]
