# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation and argument spec; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_info
short_description: Read level, enrolment, protection and patched processes of a host
version_added: 0.1.0
author:
  - hotpatch.windows contributors
description:
  - Reads everything decisions rest on in one request, and changes nothing.
  - Facts that ordinary fact gathering does not have are the UBR, whether virtualization-based security is really running, the id of the
    present boot, and which process runs which payload.
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
  sections:
    description:
      - The parts to read. Without this option all are read.
    type: list
    elements: str
    choices: [host, updates, enrollment, vbs, arc, pending_reboot, boot, agent, payloads, coverage, alerts]
"""

EXAMPLES = r"""
---
- name: Read everything
  hotpatch.windows.host_info:
  register: facts

- name: Show the level
  ansible.builtin.debug:
    msg: "{{ facts.info.host.current_build }}.{{ facts.info.host.ubr }}"

- name: Read only what is in force and what is still vulnerable
  hotpatch.windows.host_info:
    sections: [payloads, coverage, alerts]
"""

RETURN = r"""
---
info:
  description: One key for each section.
  returned: success
  type: dict
  contains:
    host:
      description: Product, edition and build of the host.
      type: dict
      sample: {"product_name": "Windows Server 2025 Datacenter", "current_build": 26100, "ubr": 32690}
    updates:
      description: The installed updates.
      type: list
      elements: dict
    enrollment:
      description: The registry values that enrol a host; null where there is none.
      type: dict
    vbs:
      description: The state of virtualization-based security.
      type: dict
      sample: {"status": "running", "source": "Win32_DeviceGuard"}
    secure_boot:
      description: V(on), V(off), V(unsupported) or V(unknown).
      type: str
    arc:
      description: The state of the Azure Connected Machine agent.
      type: dict
    pending_reboot:
      description: Whether a reboot is pending, and why.
      type: dict
    boot:
      description: The id and the time of the present boot.
      type: dict
    agent:
      description: The state of the agent and its store.
      type: dict
    payloads:
      description: The payloads in force and the processes that run them.
      type: list
      elements: dict
    coverage:
      description: Processes that still run vulnerable code, with the reason and the cheapest remedy.
      type: list
      elements: dict
    alerts:
      description: What needs the attention of a person.
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
