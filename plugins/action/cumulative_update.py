# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Installs an update package as a job of the agent, reboots only when told, and proves the level."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.hotpatch.windows.plugins.plugin_utils._action import AgentAction, Arguments, Result, failed
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.jobs import wait_for_job
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.reboot import reboot_and_wait
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.session import AgentSession
from ansible_collections.hotpatch.windows.plugins.plugin_utils._agent.transfer import (
    Source,
    bring,
    checked_sha256,
    local_source,
    pulled_source,
)
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import Catalog, Facts, check_package
from ansible_collections.hotpatch.windows.plugins.plugin_utils._docs import Rules
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError
from ansible_collections.hotpatch.windows.plugins.plugin_utils._judge import FACT_SECTIONS, catalog_of, date_of, facts_of, policy_of
from ansible_collections.hotpatch.windows.plugins.plugin_utils._update import Promise, is_applicable, level_text, servicing_pending


@dataclass
class _Course:
    """How far one installation has come; what a failure leaves in the result."""

    agent: AgentSession
    arguments: Arguments
    promise: Promise
    source: Source
    info: dict[str, t.Any]
    before: str | None
    changed: bool = False
    rebooted: bool = False
    job: str | None = None
    reboot_asked_for: bool = False
    facts: Facts = field(default_factory=Facts)

    def read(self) -> None:
        """Look at the host as it is now."""
        self.info = self.agent.call("host_info", {"sections": FACT_SECTIONS})
        self.facts = facts_of(self.info)

    @property
    def kept(self) -> bool:
        """Whether the host is on the promised level."""
        return self.promise.kept_by(self.facts)


class ActionModule(AgentAction):
    """``hotpatch.windows.cumulative_update``"""

    rules = Rules(mutually_exclusive=[("src", "url")])

    def perform(self, agent: AgentSession, arguments: Arguments) -> Result:
        """Every step looks at the host first, so a run after a lost connection goes on where the last one was."""
        catalog = catalog_of(arguments, self.find_file)
        course = self._course(agent, arguments, catalog)
        if course.kept:
            return self._result(course, required=servicing_pending(course.info))
        self._guard(course, catalog)
        if self.check_mode:
            return self._foretell(course)
        try:
            self._install(course)
            if self._shall_reboot(course):
                self._reboot(course)
            return self._prove(course)
        except HotpatchError as error:
            return failed(error, **self._result(course, required=course.reboot_asked_for and not course.rebooted))

    # -- before anything is changed -----------------------------------------------------------------------------------------

    def _course(self, agent: AgentSession, arguments: Arguments, catalog: Catalog) -> _Course:
        promise = Promise.of(arguments["kb"], arguments["build"], catalog)
        source = self._source(arguments)
        info = agent.call("host_info", {"sections": FACT_SECTIONS})
        facts = facts_of(info)
        return _Course(agent, arguments, promise, source, info, level_text(facts), facts=facts)

    def _source(self, arguments: Arguments) -> Source:
        if arguments["src"] is not None:
            return local_source(self.find_file(arguments["src"]), arguments["sha256"], "sha256")
        if arguments["url"] is not None:
            return pulled_source(arguments["url"], arguments["sha256"], None, arguments["proxy"], "url")
        return Source(checked_sha256(arguments["sha256"], "sha256"))

    def _guard(self, course: _Course, catalog: Catalog) -> None:
        """Refuse what would cost the host its quarter, or is not for it."""
        if not is_applicable(course.promise, course.facts):
            raise HotpatchError(
                "package_not_applicable",
                f"{course.promise.kb} is for build {course.promise.build}; the host has {course.before}.",
                where=self.host,
            )
        why = check_package(course.promise.kb, course.facts, catalog, policy_of(course.arguments), date_of(course.arguments["date"]))
        if why is None or (why.code == "package_wrong_track" and course.arguments["allow_wrong_track"]):
            return
        remedy = "Use the package the plan names, or set allow_wrong_track to accept it." if why.code == "package_wrong_track" else ""
        raise HotpatchError(why.code, why.text, where=self.host, remedy=remedy)

    def _foretell(self, course: _Course) -> Result:
        """What the real run would do. A package that is installed and only waits for its reboot is no change."""
        waits = self._waits_for_reboot(course)
        if not waits and servicing_pending(course.info) and course.arguments["reboot"] == "never":
            raise self._pending_first(course)
        reboots = course.arguments["reboot"] == "always" or (waits and course.arguments["reboot"] == "if_required")
        course.changed, course.rebooted = not waits or reboots, reboots
        return self._result(course, required=waits and not reboots, after=str(course.promise.build or course.before))

    def _waits_for_reboot(self, course: _Course) -> bool:
        if not servicing_pending(course.info):
            return False
        present = course.agent.call("store_query", {"objects": [course.source.sha256]})["present"]
        return bool(present) and not course.agent.call("package_install", self._package(course), dry_run=True)["changed"]

    def _pending_first(self, course: _Course) -> HotpatchError:
        reasons = course.info["pending_reboot"]["reasons"]
        return HotpatchError("package_reboot_pending", where=self.host, details={"reasons": reasons})

    # -- installing ---------------------------------------------------------------------------------------------------------

    def _package(self, course: _Course) -> dict[str, str]:
        return {"sha256": course.source.sha256, "kb": course.promise.kb}

    def _install(self, course: _Course) -> None:
        if servicing_pending(course.info) and not self._waits_for_reboot(course):
            if course.arguments["reboot"] == "never":
                raise self._pending_first(course)
            self.say("restarts first: servicing has a reboot pending")
            self._reboot(course)
            if course.kept:
                return
        bring(course.agent, [course.source], dry_run=False, say=self.say)
        started = course.agent.call("package_install", self._package(course))
        course.job, course.changed = started["job"], course.changed or started["changed"]
        status = wait_for_job(
            course.agent,
            started["job"],
            name=course.promise.kb,
            poll_interval=course.arguments["poll_interval"],
            timeout=course.arguments["install_timeout"],
            say=self.say,
        )
        course.reboot_asked_for = status["reboot_required"]

    def _shall_reboot(self, course: _Course) -> bool:
        wish = course.arguments["reboot"]
        return course.job is not None and (wish == "always" or (wish == "if_required" and course.reboot_asked_for))

    def _reboot(self, course: _Course) -> None:
        course.changed = True
        reboot_and_wait(
            course.agent,
            course.info["boot"]["id"],
            delay=course.arguments["reboot_delay"],
            message=course.arguments["reboot_message"],
            timeout=course.arguments["reboot_timeout"],
            say=self.say,
        )
        course.rebooted = True
        course.read()

    # -- afterwards ---------------------------------------------------------------------------------------------------------

    def _prove(self, course: _Course) -> Result:
        """The level of the host counts, not the installer's word."""
        course.read()
        waits = course.reboot_asked_for and not course.rebooted
        if not course.kept and not waits:
            raise HotpatchError(
                "package_level_not_reached",
                f"After {course.promise.kb} the host is on {level_text(course.facts)}, not on {course.promise.build or course.promise.kb}.",
                where=self.host,
                details={"level": level_text(course.facts), "expected": str(course.promise.build), "rebooted": course.rebooted},
            )
        return self._result(course, required=waits or servicing_pending(course.info))

    def _result(self, course: _Course, *, required: bool, after: str | None = None) -> Result:
        level = {"before": course.before, "after": after or level_text(course.facts)}
        result: Result = {
            "changed": course.changed,
            "kb": course.promise.kb,
            "level": level,
            "expected": None if course.promise.build is None else str(course.promise.build),
            "reboot_required": required,
            "rebooted": course.rebooted,
        }
        if course.job is not None:
            result["job"] = course.job
        return self.with_diff(result, {"level": level["before"]}, {"level": level["after"]})
