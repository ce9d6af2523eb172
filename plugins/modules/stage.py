# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation and argument spec; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: stage
short_description: Bring payloads and packages into the store of a host
version_added: 0.1.0
author:
  - hotpatch.windows contributors
description:
  - Copies files from the controller, or lets the host pull them, and keeps each under its SHA-256 where only administrators can write.
  - Nothing is applied. A file that is there already is not sent again.
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
      - V(present) brings the files into the store.
      - V(absent) removes them. A file that is in force or being installed is not removed.
    type: str
    choices: [present, absent]
    default: present
  files:
    description: The files.
    type: list
    elements: dict
    required: true
    suboptions:
      src:
        description: A file on the controller.
        type: str
      url:
        description: A URL (C(http) or C(https)) from which the host itself pulls the file. Needs O(files[].sha256).
        type: str
      sha256:
        description: The SHA-256 the file must have, 64 hexadecimal digits.
        type: str
      size:
        description: The size in bytes, which is checked before a byte is pulled from O(files[].url).
        type: int
      proxy:
        description: The proxy through which the host pulls, for example V(http://proxy.example.com:3128).
        type: str
"""

EXAMPLES = r"""
---
- name: Bring this month's package and a payload to the host before the window opens
  hotpatch.windows.stage:
    files:
      - url: http://updates.example.com/windows11.0-kb5087423-x64.msu
        sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
      - src: orders-2026-11.hpp1
"""

RETURN = r"""
---
objects:
  description: The files, in the order of O(files).
  returned: success
  type: list
  elements: dict
  contains:
    sha256:
      description: The SHA-256, by which other modules name the file.
      type: str
    size:
      description: The size in bytes; null for a file that a dry run would pull or that was removed.
      type: int
    changed:
      description: Whether it was brought or removed now.
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
