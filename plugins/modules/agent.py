# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation and argument spec; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: agent
short_description: Install, upgrade or remove the agent, and say which signing keys a host trusts
version_added: 0.1.0
author:
  - hotpatch.windows contributors
description:
  - Copies the agent of this collection to the host, makes it a service and starts it. An older one is replaced; what it had applied stays
    in force.
  - Sets which keys may sign payloads for the host, and what is revoked.
  - Removes the agent after everything it applied has been reverted.
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
      - V(present) installs the agent of this collection, or upgrades to it.
      - V(absent) reverts what is in force, then removes the service and its files.
    type: str
    choices: [present, absent]
    default: present
  src:
    description:
      - The agent program on the controller, for hosts that need another than the one shipped with the role
        P(hotpatch.windows.agent#role), for example one with an Authenticode signature.
    type: str
  trusted_keys:
    description:
      - All keys whose payloads the host accepts. A key that is not listed is no longer trusted; an empty list trusts none.
      - When this option is not given, the keys of the host stay as they are.
    type: list
    elements: dict
    suboptions:
      public_key:
        description: The public key, P-256, in PEM form.
        type: str
        required: true
      name:
        description: A name for people.
        type: str
        required: true
      not_after:
        description: The last day on which the key is accepted, for example V(2027-12-31). Without it the key has no end.
        type: str
  revoked_keys:
    description:
      - The ids of all keys that are revoked, 64 hexadecimal digits each. Revocation goes before trust.
      - When this option is not given, the revoked keys of the host stay as they are.
    type: list
    elements: str
  revoked_payloads:
    description:
      - The SHA-256 of all payloads that are revoked.
      - When this option is not given, the revoked payloads of the host stay as they are.
    type: list
    elements: str
  keep_store:
    description: Whether O(state=absent) leaves staged payloads and packages on the host.
    type: bool
    default: false
  revert:
    description:
      - Whether O(state=absent) reverts what is in force. Without it the removal is refused while something is.
    type: bool
    default: true
"""

EXAMPLES = r"""
---
- name: Install or upgrade the agent and trust the security team's key
  hotpatch.windows.agent:
    trusted_keys:
      - name: security-2026
        public_key: "{{ lookup('ansible.builtin.file', 'security-2026.pub.pem') }}"
        not_after: "2027-12-31"

- name: Revoke a key that was lost
  hotpatch.windows.agent:
    revoked_keys:
      - 3b9c358f36f0a31b6ad3e14f309c7cf198ac9246e8316f9ce543d5b19ac02b80

- name: Remove the agent
  hotpatch.windows.agent:
    state: absent
"""

RETURN = r"""
---
path:
  description: The installed program.
  returned: when O(state=present)
  type: str
  sample: 'C:\ProgramData\hotpatch.windows\agent\9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\hotpatch-agent.exe'
version:
  description: The version of the installed agent.
  returned: when O(state=present)
  type: str
  sample: 0.1.0
previous:
  description: The agent that was replaced, with RV(ignore:path) and RV(ignore:version).
  returned: when O(state=present) and there was one
  type: dict
trust:
  description: The keys and revocations now in force.
  returned: when O(trusted_keys), O(revoked_keys) or O(revoked_payloads) is given
  type: dict
removed:
  description: What was removed.
  returned: when O(state=absent)
  type: list
  elements: str
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
