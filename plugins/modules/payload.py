# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation and argument spec; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: payload
short_description: Build, sign, verify and explain payloads that fix running programs
version_added: 0.1.0
author:
  - hotpatch.windows contributors
description:
  - Builds a payload from two builds of a module, the one that hosts run and the one with the fix. The functions that changed are found,
    carried with what they need, and proven against the new build, instruction by instruction.
  - Refuses, naming function and reason, what cannot be replaced in a running process, for example a changed structure. Such a fix has
    to go out as an update.
  - Signs payloads, verifies them as a host does, and says what is in them.
  - Works on the controller; no host is contacted. It is enough to run it once for a play.
requirements:
  - Python libraries C(cryptography), and for O(state=built) C(lief) and C(iced-x86), on the controller
extends_documentation_fragment:
  - hotpatch.windows.attributes
  - hotpatch.windows.attributes.action_group
attributes:
  check_mode:
    support: full
    details:
      - Everything is computed and checked; only O(dest) is not written.
  diff_mode:
    support: full
    details:
      - Shows what the payload does, not its bytes.
  idempotent:
    support: full
    details:
      - The same files, key and options give the same payload, byte for byte. The time of creation is kept while nothing else changes.
  async:
    support: none
  platform:
    support: full
    details:
      - The controller, which must not be Windows.
options:
  state:
    description:
      - V(built) makes O(dest) from O(old) and O(new); signed when there is a key, else to be signed later.
      - V(signed) signs the unsigned payload O(src) and writes it to O(dest).
      - V(verified) checks the signed payload O(src) as a host that trusts O(trusted_keys) does.
      - V(explained) says what is in O(src), signed or not, without believing it.
    type: str
    choices: [built, signed, verified, explained]
    default: built
  old:
    description: The DLL or program as hosts run it, on the controller.
    type: str
  new:
    description: The same module with the fix, built with the same compiler and options.
    type: str
  src:
    description: The payload to sign, verify or explain, on the controller.
    type: str
  dest:
    description: The payload to write, on the controller.
    type: path
  id:
    description: The name of the fix, which stays the same when it is improved. Lower-case letters, digits, dot, underscore and hyphen.
    type: str
  sequence:
    description: Rises with every payload of the same O(id). A host that has accepted one never accepts a lower one.
    type: int
    default: 1
  title:
    description: One line for people, at most 200 characters. Without it, the O(id).
    type: str
  cves:
    description: What the payload fixes.
    type: list
    elements: str
    default: []
  replaces:
    description: The ids of other payloads whose place this one takes.
    type: list
    elements: str
    default: []
  expires:
    description:
      - The last day on which hosts accept the payload, for example V(2027-03-31).
      - Choose the day by which the real update is on all hosts.
    type: str
  target_name:
    description: The file name of the module on the hosts. Without it, that of O(old).
    type: str
  overrides:
    description:
      - Refusals that you take responsibility for, by their code, or by code and place as in V(build_data_changed@0x9010).
      - Can be V(build_whole_rebuild), V(build_exports_changed), V(build_layout_changed), V(build_data_changed) and
        V(build_initialiser_changed). Everything else cannot be overridden.
      - What was overridden stands in the payload's title.
    type: list
    elements: str
    default: []
  on_refusal:
    description:
      - What to do when the builds are of a kind that cannot be hotpatched. V(fail) fails the task.
      - V(report) succeeds, writes nothing and returns RV(refusals), so that a play can go on with the update instead.
    type: str
    choices: [fail, report]
    default: fail
  key:
    description:
      - The private key, P-256, as a PEM file on the controller.
      - C(openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -out signing.pem) makes one.
    type: str
  key_content:
    description: The private key itself in PEM form, for keys that come from a vault.
    type: str
  key_passphrase:
    description: The passphrase of the private key.
    type: str
  trusted_keys:
    description: The keys to verify against, as for M(hotpatch.windows.agent).
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
        description: The last day on which the key is accepted. Without it the key has no end.
        type: str
  revoked_keys:
    description: The ids of revoked keys.
    type: list
    elements: str
    default: []
  revoked_payloads:
    description: The SHA-256 of revoked payloads.
    type: list
    elements: str
    default: []
seealso:
  - module: hotpatch.windows.stage
  - module: hotpatch.windows.hotpatch
"""

EXAMPLES = r"""
---
- name: Build and sign the fix
  hotpatch.windows.payload:
    old: builds/4.2.0/orders.dll
    new: builds/4.2.1/orders.dll
    dest: payloads/orders-2026-11.hpp1
    id: orders-2026-11
    title: Over-read in the echo request and in the notes
    cves:
      - CVE-2026-31337
    expires: "2027-03-31"
    key: keys/signing.pem
    key_passphrase: "{{ vault_signing_passphrase }}"
  run_once: true

- name: See whether a fix can be hotpatched at all
  hotpatch.windows.payload:
    old: builds/4.2.0/orders.dll
    new: builds/4.3.0/orders.dll
    dest: payloads/orders-2026-12.hpp1
    id: orders-2026-12
    title: Staff's orders are no longer shown
    expires: "2027-03-31"
    on_refusal: report
  check_mode: true
  run_once: true
  register: fix

- name: Sign on another machine what was built and reviewed before
  hotpatch.windows.payload:
    state: signed
    src: payloads/orders-2026-11.unsigned
    dest: payloads/orders-2026-11.hpp1
    key: keys/signing.pem
    key_passphrase: "{{ vault_signing_passphrase }}"
  run_once: true

- name: Verify a payload as the hosts will
  hotpatch.windows.payload:
    state: verified
    src: payloads/orders-2026-11.hpp1
    trusted_keys:
      - name: security-2026
        public_key: "{{ lookup('ansible.builtin.file', 'keys/security-2026.pub.pem') }}"
  run_once: true

- name: What is in this file?
  hotpatch.windows.payload:
    state: explained
    src: payloads/orders-2026-11.hpp1
  run_once: true
"""

RETURN = r"""
---
payload:
  description: The payload.
  returned: success, unless it was refused
  type: dict
  contains:
    path:
      description: The file, O(dest) or O(src).
      type: str
    sha256:
      description: SHA-256 of the file, by which hosts know it.
      type: str
    size:
      description: Bytes of the file.
      type: int
    signed:
      description: Whether it has a signature.
      type: bool
    key_id:
      description: The id of the key that signed it.
      type: str
      returned: when it is signed
    id:
      description: The name of the fix.
      type: str
    sequence:
      description: Its sequence number.
      type: int
    created:
      description: When it was built, in seconds since 1970 UTC.
      type: int
    expires:
      description: Until when hosts accept it, in seconds since 1970 UTC.
      type: int
public_key:
  description: The public half of the signing key in PEM form, for the option C(trusted_keys) of M(hotpatch.windows.agent).
  returned: when a key was used
  type: str
explanation:
  description:
    - What the payload does, for each function with its place, length, and how calls are redirected.
    - After O(state=built) also why each function counts as changed, what it refers to, what was carried with it, why threads have to stand
      still or need not, what was overridden, and how many references were proven.
  returned: success, unless it was refused
  type: dict
refusals:
  description: Why the fix cannot be hotpatched; each reason has a code, a message, a remedy and the functions concerned.
  returned: when it was refused
  type: list
  elements: dict
error:
  description: The reason of the failure.
  returned: on failure
  type: dict
"""
