# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rings and progress of a fleet into what may happen now."""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_plan
short_description: Say what may happen on which host now, ring by ring
version_added: 0.1.0
author: hotpatch.windows contributors
description:
  - Takes the assessments of M(hotpatch.windows.baseline_info) and says for every host whether its next action may run now.
  - Rings, soak time, failure budgets, maintenance windows and freeze dates are inputs. The same inputs always give the same plan.
positional: _input
options:
  _input:
    description: The assessments, with the host as key.
    type: dict
    required: true
  rings:
    description:
      - The rings in their order, each with C(name), C(soak_hours), C(failure_budget) and C(window), and with C(hosts) unless O(members)
        says who is in it. docs/decision.md of the collection describes them.
    type: list
    elements: dict
    required: true
  members:
    description: The ring's name for each host. A ring that is not in O(rings) is an error.
    type: dict
  policy:
    description: The policy, as for M(hotpatch.windows.baseline_info).
    type: dict
    default: {}
  progress:
    description: The hosts already worked on, each with C(state) and C(at).
    type: dict
    default: {}
  now:
    description: The moment the plan is for, in ISO 8601 with a time zone. Without it the present.
    type: str
"""

EXAMPLES = r"""
- name: Which hosts may be worked on now?
  ansible.builtin.debug:
    msg: "{{ assessments | hotpatch.windows.fleet_plan(rings=rings, policy=policy) }}"
"""

RETURN = r"""
_value:
  description: The plan, with C(now), C(stopped) and C(rings).
  type: dict
"""

import datetime
import typing as t
from collections.abc import Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError

from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import Assessment, Policy, Progress, plan_fleet
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.policy import read_rings
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError


def fleet_plan(
    assessments: Mapping[str, Mapping[str, t.Any]],
    rings: Sequence[Mapping[str, t.Any]],
    policy: Mapping[str, t.Any] | None = None,
    progress: Mapping[str, t.Any] | None = None,
    now: str | None = None,
    members: Mapping[str, str] | None = None,
) -> dict[str, t.Any]:
    """See DOCUMENTATION."""
    try:
        rules = Policy.from_dict(policy or {})
        hosts = {name: Assessment.from_dict(one) for name, one in assessments.items()}
        return plan_fleet(
            hosts, read_rings(_filled(rings, members or {}), rules), rules, _moment(now), Progress.from_dict(progress or {})
        ).as_dict()
    except HotpatchError as error:
        raise AnsibleFilterError(str(error)) from error


def _filled(rings: Sequence[Mapping[str, t.Any]], members: Mapping[str, str]) -> list[dict[str, t.Any]]:
    """The rings with their hosts, in the order in which the hosts are given."""
    names = [ring.get("name") for ring in rings]
    for host, name in members.items():
        if name not in names:
            raise HotpatchError("policy_invalid", f"{host} is in the ring '{name}', which is none of {names}.", where="rings")
    if not members:
        return [dict(ring) for ring in rings]
    return [{**ring, "hosts": [host for host, name in members.items() if name == ring["name"]]} for ring in rings]


def _moment(text: str | None) -> datetime.datetime:
    if text is None:
        return datetime.datetime.now(datetime.UTC)
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise HotpatchError("argument_invalid", f"'{text}' is not a moment like 2026-05-16T22:10:00+00:00.", where="now") from error
    if moment.tzinfo is None:
        raise HotpatchError("argument_invalid", f"'{text}' has no time zone.", where="now")
    return moment


class FilterModule:
    """The collection's filter for fleets."""

    def filters(self) -> dict[str, Callable[..., t.Any]]:
        """Filters by name."""
        return {"fleet_plan": fleet_plan}
