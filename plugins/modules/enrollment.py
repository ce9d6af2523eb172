# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation and argument spec; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: enrollment
short_description: Enrol hosts for hotpatching, or take them out
version_added: 0.1.0
author:
  - hotpatch.windows contributors
description:
  - Sets or removes the registry values that enrol a Windows Server for hotpatches, and reports every prerequisite with its verdict.
  - Never reboots. RV(reboot_required) says whether a reboot is needed before the enrolment takes effect.
  - Leaving the programme never turns virtualization-based security off, since that would weaken the host.
extends_documentation_fragment:
  - hotpatch.windows.attributes
  - hotpatch.windows.attributes.action_group
  - hotpatch.windows.attributes.agent
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    support: full
options:
  state:
    description:
      - V(enrolled) sets the values. Nothing is changed when a prerequisite is missing that no setting of this host can meet.
      - V(unenrolled) removes the values. The host gets ordinary cumulative updates from then on and can be enrolled again at any time.
    type: str
    choices: [enrolled, unenrolled]
    default: enrolled
"""

EXAMPLES = r"""
---
- name: Enrol, and remember which hosts need a reboot for it
  hotpatch.windows.enrollment:
    state: enrolled
  register: enrollment

- name: Show what is missing on hosts that cannot be enrolled yet
  ansible.builtin.debug:
    msg: "{{ enrollment.prerequisites | rejectattr('met') | map(attribute='remedy') | list }}"

- name: Return to ordinary updates
  hotpatch.windows.enrollment:
    state: unenrolled
"""

RETURN = r"""
---
state:
  description: V(enrolled) or V(unenrolled), as the values now say.
  returned: success
  type: str
before:
  description: The values as they were.
  returned: success
  type: dict
after:
  description: The values as they are now.
  returned: success
  type: dict
prerequisites:
  description: Every prerequisite of hotpatching on this product.
  returned: when the host was read
  type: list
  elements: dict
  contains:
    code:
      description: The stable name of the prerequisite.
      type: str
    met:
      description: Whether it is met; null when that is not known.
      type: bool
    text:
      description: The prerequisite in words.
      type: str
    remedy:
      description: What to do when it is not met.
      type: str
reboot_required:
  description: Whether the host must be restarted before the values take effect.
  returned: success
  type: bool
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
