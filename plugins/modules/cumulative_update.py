# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation and argument spec; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: cumulative_update
short_description: Install an update package, reboot only when told, and prove the new level
version_added: 0.1.0
author:
  - hotpatch.windows contributors
description:
  - Brings an C(.msu) package to the host or lets the host pull it, checks its SHA-256, and installs it as a job that outlives the
    connection. Progress is shown while it runs.
  - Afterwards the level of the host is read and compared with what the package promises. The installer's own word is not enough.
  - Refuses packages that would take an enrolled host off the hotpatch track.
  - Run again after a lost connection, it finds the job or the level and goes on from there.
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
  kb:
    description: The KB of the package, for example V(KB5082063).
    type: str
    required: true
  sha256:
    description: The SHA-256 of the package, 64 hexadecimal digits.
    type: str
    required: true
  src:
    description: The package on the controller. Without O(src) and O(url) it must have been staged before.
    type: str
  url:
    description: A URL (C(http) or C(https)) from which the host itself pulls the package.
    type: str
  proxy:
    description: The proxy through which the host pulls.
    type: str
  build:
    description:
      - The level the host is on afterwards, build and UBR, for example V(26100.32690). Without it the catalog is asked; a KB that is in no
        catalog needs it.
    type: str
  reboot:
    description:
      - V(never) leaves a needed reboot to others; RV(reboot_required) says so.
      - V(if_required) reboots when the installer asks for it.
      - V(always) reboots after every installation.
    type: str
    choices: [never, if_required, always]
    default: never
  reboot_delay:
    description: How many seconds the host waits before it goes down, so that this answer still comes through.
    type: int
    default: 5
  reboot_timeout:
    description:
      - For how many seconds to wait until the host is up again. Large updates are configured for many minutes while it boots.
    type: int
    default: 3600
  reboot_message:
    description: What users who are logged in are told.
    type: str
    default: Restart to complete the installation of an update
  install_timeout:
    description: For how many seconds to wait for the installer. The job goes on when the time is over.
    type: int
    default: 7200
  poll_interval:
    description: How many seconds to wait between two questions for progress.
    type: int
    default: 5
  allow_wrong_track:
    description: Whether to accept that the host leaves the hotpatch track until the next baseline.
    type: bool
    default: false
  catalogs:
    description: Catalog files on the controller, as for M(hotpatch.windows.baseline_info).
    type: list
    elements: str
    default: []
  shipped_catalog:
    description: Whether the snapshot that comes with the collection is the base below O(catalogs).
    type: bool
    default: true
  policy:
    description: The policy, as for M(hotpatch.windows.baseline_info).
    type: dict
    default: {}
  date:
    description: The day for which the package is judged, as for M(hotpatch.windows.baseline_info). Without it today in UTC.
    type: str
"""

EXAMPLES = r"""
---
- name: Install this month's hotpatch package, which needs no reboot
  hotpatch.windows.cumulative_update:
    kb: KB5087423
    src: windows11.0-kb5087423-x64.msu
    sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae

- name: Install the quarter's baseline and reboot when the installer asks for it
  hotpatch.windows.cumulative_update:
    kb: KB5082063
    url: http://updates.example.com/windows11.0-kb5082063-x64.msu
    sha256: fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9
    build: "26100.32690"
    reboot: if_required
"""

RETURN = r"""
---
kb:
  description: The KB of the package.
  returned: success
  type: str
level:
  description: The level of the host, with RV(ignore:before) and RV(ignore:after), as build and UBR.
  returned: success
  type: dict
  sample: {"before": "26100.32230", "after": "26100.32690"}
expected:
  description: The level the package promises.
  returned: success
  type: str
  sample: "26100.32690"
reboot_required:
  description: Whether a reboot is still needed before the update takes effect.
  returned: success
  type: bool
rebooted:
  description: Whether the host was rebooted by this task.
  returned: success
  type: bool
job:
  description: The id of the installer job on the host.
  returned: when the installer ran
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
