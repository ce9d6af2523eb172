# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation and argument spec; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: baseline_info
short_description: Say what a host needs next, and why, without changing anything
version_added: 0.1.0
author:
  - hotpatch.windows contributors
description:
  - Reads the host, compares it with the catalog and the policy, and returns one verdict with all its reasons.
  - The same catalog, policy, date and host always give the same answer.
extends_documentation_fragment:
  - hotpatch.windows.attributes
  - hotpatch.windows.attributes.action_group
  - hotpatch.windows.attributes.agent
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details:
      - Changes nothing.
  idempotent:
    support: full
  platform:
    support: full
options:
  catalogs:
    description:
      - Catalog files on the controller, as written by M(hotpatch.windows.catalog) or by hand. Later ones win over earlier ones.
    type: list
    elements: str
    default: []
  shipped_catalog:
    description: Whether the snapshot that comes with the collection is the base below O(catalogs).
    type: bool
    default: true
  policy:
    description:
      - When to reboot for what a hotpatch leaves open, maintenance windows and freeze dates. docs/decision.md of the collection lists the
        keys.
    type: dict
    default: {}
  date:
    description: The day the verdict is for, for example V(2026-05-16). Without it today in UTC.
    type: str
  info:
    description: The RV(hotpatch.windows.host_info#module:info) of the host, when it was read already. Then the host is not contacted.
    type: dict
"""

EXAMPLES = r"""
---
- name: What does each host need?
  hotpatch.windows.baseline_info:
    catalogs: [/srv/catalog/own.yml]
    policy:
      reboot_now:
        exploited: true
        critical: true
  register: baseline

- name: Show verdict and reasons
  ansible.builtin.debug:
    msg: "{{ baseline.assessment.verdict }}: {{ baseline.assessment.reasons | map(attribute='text') | join(' ') }}"
"""

RETURN = r"""
---
assessment:
  description: The verdict. docs/decision.md of the collection describes every key.
  returned: success
  type: dict
  contains:
    verdict:
      description: V(current), V(hotpatch), V(baseline), V(cumulative_update), V(not_enrolled), V(not_eligible) or V(blocked).
      type: str
    level:
      description: The level the host is on.
      type: dict
    expected:
      description: The level the calendar expects.
      type: dict
    next_action:
      description: What to do next, with KB and build.
      type: dict
    reasons:
      description: Every reason, as a code and in words.
      type: list
      elements: dict
    residual:
      description: The vulnerabilities that stay open, and until when.
      type: list
      elements: dict
agent:
  description: The agent that did it.
  returned: when the host was reached
  type: dict
  sample: {"version": "0.1.0", "mode": "resident"}
error:
  description: The reason of the failure.
  returned: on failure
  type: dict
  contains:
    code:
      description: The stable code of the reason. docs/errors.md of the collection lists them all.
      type: str
      sample: store_hash_mismatch
    message:
      description: What happened.
      type: str
    where:
      description: The file, host, process or argument concerned.
      type: str
    remedy:
      description: What to do.
      type: str
    details:
      description: Facts that go with the code.
      type: dict
"""
