# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation and argument spec; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: catalog
short_description: Make a catalog of updates, hotpatches and what each of them fixes
version_added: 0.1.0
author:
  - hotpatch.windows contributors
description:
  - Reads Microsoft's security feed (CVRF), from the net or from files, and your own list of fixes and packages into one catalog file for
    M(hotpatch.windows.baseline_info) and the roles.
  - Works on the controller; no host is contacted. It is enough to run it once for a play.
  - For each product and month the catalog says which cumulative update and which hotpatch there is, their builds, which CVE each of them
    fixes, and so what a hotpatch leaves open until the next baseline.
extends_documentation_fragment:
  - hotpatch.windows.attributes
  - hotpatch.windows.attributes.action_group
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows one line for each product and month, not the file.
  idempotent:
    support: full
    details:
      - The same sources give the same file, byte for byte, in any order.
  async:
    support: none
  platform:
    support: full
    details:
      - The controller, which must not be Windows.
options:
  dest:
    description:
      - The catalog file to write on the controller. Without it nothing is written and only the summary is returned.
    type: path
  update:
    description:
      - Whether the present content of O(dest) is kept and added to.
      - Without it the file is made anew of the sources given here.
    type: bool
    default: false
  shipped_catalog:
    description: Whether the snapshot that comes with the collection is the base.
    type: bool
    default: true
  feeds:
    description: Documents of the feed on the controller, in XML or JSON form, plain or compressed with xz.
    type: list
    elements: str
    default: []
  months:
    description:
      - Months to fetch from O(url), written as V(2026-05).
      - V(missing) stands for every month from the one after the newest in the catalog to that of O(date). A month whose document is
        not published yet is left out with a warning.
    type: list
    elements: str
    default: []
  url:
    description:
      - Where the feed's monthly documents are. The month in the feed's form (V(2026-May)) is appended.
    type: str
    default: https://api.msrc.microsoft.com/cvrf/v3.0/cvrf
  date:
    description: The day up to which O(months=missing) goes. Without it today in UTC.
    type: str
  use_proxy:
    description: Whether the proxy of the controller's environment is used to fetch documents.
    type: bool
    default: true
  validate_certs:
    description: Whether the feed's TLS certificate is checked.
    type: bool
    default: true
  timeout:
    description: Seconds to wait for the feed.
    type: int
    default: 60
  own_lists:
    description:
      - Your own lists, in YAML or JSON. They may hold fixes (payloads, or why there is none), places of packages, and months.
        docs/decision.md of the collection describes them.
      - They win over everything else, later ones over earlier ones.
    type: list
    elements: str
    default: []
  products:
    description: The products to read from feed documents.
    type: list
    elements: str
    choices: [windows_server_2025, windows_server_2022, windows_server_2019, windows_server_2016]
    default: [windows_server_2025, windows_server_2022]
seealso:
  - module: hotpatch.windows.baseline_info
"""

EXAMPLES = r"""
---
- name: Bring the catalog up to date on the day after Patch Tuesday
  hotpatch.windows.catalog:
    dest: /srv/hotpatch/catalog.json
    update: true
    months: [missing]
    own_lists: [/srv/hotpatch/own.yml]
  delegate_to: localhost
  run_once: true

- name: Make a catalog from documents that were fetched elsewhere
  hotpatch.windows.catalog:
    dest: /srv/hotpatch/catalog.json
    feeds:
      - /srv/feed/cvrf-2026-Apr.xml
      - /srv/feed/cvrf-2026-May.xml.xz
  delegate_to: localhost
  run_once: true

- name: What does this month's hotpatch leave open?
  hotpatch.windows.catalog:
    months: ["2026-05"]
  delegate_to: localhost
  run_once: true
  register: catalog

- name: Show it
  ansible.builtin.debug:
    msg: "{{ catalog.months | selectattr('month', 'eq', '2026-05') | map(attribute='left_open') }}"
"""

RETURN = r"""
---
dest:
  description: The catalog file.
  returned: when O(dest) is given
  type: str
sha256:
  description: The SHA-256 of the catalog's text, which is the same for the same sources.
  returned: success
  type: str
date:
  description: The date of the newest source.
  returned: success
  type: str
  sample: "2026-05-15"
sources:
  description: What the catalog was made from.
  returned: success
  type: list
  elements: dict
  sample: [{"kind": "feed", "name": "2026-May", "date": "2026-05-15"}]
months:
  description: A summary of each product and month, in order.
  returned: success
  type: list
  elements: dict
  contains:
    product:
      description: The product.
      type: str
    month:
      description: The month.
      type: str
      sample: "2026-05"
    kind:
      description: V(baseline) when the month has no hotpatch for the product, else V(hotpatch).
      type: str
    planned:
      description: What the published plan says of the month, V(baseline) or V(hotpatch).
      type: str
    lcu:
      description: KB and build of the cumulative update, or null when only the calendar is known.
      type: str
      sample: KB5087539 26100.32860
    hotpatch:
      description: KB and build of the hotpatch, or null.
      type: str
      sample: KB5087423 26100.32772
    others:
      description: The month's other packages.
      type: list
      elements: str
    cves:
      description: How many CVEs the cumulative update fixes, or null when the month's feed was not read.
      type: int
    hotpatch_cves:
      description: How many of them the hotpatch fixes too.
      type: int
    left_open:
      description: The CVEs that the hotpatch does not fix.
      type: list
      elements: str
fixes:
  description: The ids of the own lists' fixes.
  returned: success
  type: list
  elements: str
error:
  description: The reason of the failure.
  returned: on failure
  type: dict
  contains:
    code:
      description: The stable code of the reason. docs/errors.md of the collection lists them all.
      type: str
      sample: catalog_malformed
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
