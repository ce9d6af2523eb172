# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation and argument spec; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: reboot
short_description: Restart a host and wait until it is up again
version_added: 0.1.0
author:
  - hotpatch.windows contributors
description:
  - Restarts the host and waits until its agent answers from another boot, which also proves that the service and the connection work again.
  - Needs no PowerShell, and never restarts a host twice when the connection was lost in the middle.
extends_documentation_fragment:
  - hotpatch.windows.attributes
  - hotpatch.windows.attributes.action_group
  - hotpatch.windows.attributes.agent
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - With O(when=pending).
  platform:
    support: full
options:
  when:
    description:
      - V(pending) restarts only a host on which Windows has a restart pending.
      - V(always) restarts every host.
    type: str
    choices: [pending, always]
    default: pending
  delay:
    description: How many seconds the host waits before it goes down, so that this answer still comes through.
    type: int
    default: 5
  timeout:
    description: For how many seconds to wait until the host is up again.
    type: int
    default: 3600
  message:
    description: What users who are logged in are told.
    type: str
    default: Restart for maintenance
"""

EXAMPLES = r"""
---
- name: Restart hosts whose enrolment waits for it
  hotpatch.windows.reboot:
    when: always
  when: enrollment.reboot_required

- name: Restart hosts on which Windows waits for a restart
  hotpatch.windows.reboot:
"""

RETURN = r"""
---
rebooted:
  description: Whether the host was restarted.
  returned: success
  type: bool
reasons:
  description: Why Windows had a restart pending before.
  returned: success
  type: list
  elements: str
  sample: [component_based_servicing]
boot_id:
  description: The id of the boot the host is in now.
  returned: success
  type: str
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
