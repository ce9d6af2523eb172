# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation and argument spec; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: hotpatch
short_description: Apply a payload to running processes, or revert it
version_added: 0.1.0
author:
  - hotpatch.windows contributors
description:
  - Checks every process that has the module loaded, replaces the functions in those that fit, and proves each by reading it back. No
    process is restarted.
  - With O(probe) the service is asked before and after. When it answers before and not after, the payload is reverted at once and the task
    fails with both halves in its result.
  - A process that cannot take the payload is left as it is and listed with the reason and the cheapest remedy.
extends_documentation_fragment:
  - hotpatch.windows.attributes
  - hotpatch.windows.attributes.action_group
  - hotpatch.windows.attributes.agent
attributes:
  check_mode:
    support: full
    details:
      - A payload that is not in the store is sent for the check and removed again.
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    support: full
options:
  state:
    description:
      - V(applied) puts the payload in force in every process that has the module loaded, now and from now on.
      - V(reverted) puts the old code back.
    type: str
    choices: [applied, reverted]
    default: applied
  src:
    description: The payload on the controller.
    type: str
  sha256:
    description:
      - The SHA-256 of a payload, 64 hexadecimal digits. With O(src) the file must have it. Without O(src) the payload must be in the store.
    type: str
  payload_id:
    description: The id of the payload to revert.
    type: str
  pids:
    description: Only the processes with these ids. Without this option all that have the module loaded.
    type: list
    elements: int
  persist:
    description: Whether the service also patches processes that start later, and again after a reboot.
    type: bool
    default: true
  stop_budget:
    description:
      - For how many microseconds a process may be stopped. When it would take longer, the process goes on unchanged.
      - The default is far above what was measured (below 1 ms for a few threads) and below what users notice.
    type: int
    default: 50000
  wait_budget:
    description: For how many milliseconds to try again while a thread is in code that must not change.
    type: int
    default: 10000
  fail_on:
    description:
      - Which outcomes of a single process make the task fail. All are in the result anyway.
      - V(refused) was checked beforehand and not touched. V(busy) was given up cleanly. V(failed) was begun and undone. An
        inconsistent process always fails the task.
    type: list
    elements: str
    choices: [refused, busy, failed]
    default: [refused, busy, failed]
  probe:
    description:
      - How to see that the service works. It is asked before anything is changed, and after. When it does not answer before, nothing is
        done.
    type: dict
    suboptions:
      url:
        description: A URL that the controller asks.
        type: str
      command:
        description: A command line that the host runs, in C(cmd.exe) over the connection winrs and in PowerShell over others. It must end
          with 0.
        type: str
      status:
        description: The HTTP status that O(probe.url) must answer with.
        type: int
        default: 200
      contains:
        description: A text that the answer must contain.
        type: str
      validate_certs:
        description: Whether the certificate of O(probe.url) is checked.
        type: bool
        default: true
      timeout:
        description: How many seconds one try may take.
        type: int
        default: 10
      retries:
        description: How often to try again before the service counts as not working.
        type: int
        default: 2
"""

EXAMPLES = r"""
---
- name: Apply a payload and make sure that the service still answers
  hotpatch.windows.hotpatch:
    src: orders-2026-11.hpp1
    probe:
      url: http://{{ inventory_hostname }}:8080/health
      contains: ok

- name: Apply what was staged before, and accept that some processes must be restarted instead
  hotpatch.windows.hotpatch:
    sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    fail_on: [busy, failed]

- name: Put the old code back
  hotpatch.windows.hotpatch:
    state: reverted
    payload_id: orders-2026-11
"""

RETURN = r"""
---
payload:
  description: The payload.
  returned: success
  type: dict
  sample: {"id": "orders-2026-11", "sequence": 3, "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
processes:
  description: Every process that has the module loaded, and every one that cannot be looked into and may have it.
  returned: success
  type: list
  elements: dict
  contains:
    pid:
      description: The id of the process.
      type: int
    created:
      description: When it began, in units of 100 ns since 1601-01-01 UTC. With the id it names the process for ever.
      type: int
    image:
      description: The program.
      type: str
    service:
      description: The service it runs, or null.
      type: str
    module:
      description: The path of the module in this process.
      type: str
    base:
      description: The address at which the module is loaded, as a hexadecimal number.
      type: str
    file_sha256:
      description: The SHA-256 of the module's file as it is now; null when the process was refused before the file was read.
      type: str
    code_matches:
      description: Whether the code in memory is the file's after relocation, apart from the sites of payloads in force; null as above.
      type: bool
    verdict:
      description: V(applied), V(reverted), V(already_applied), V(already_reverted), V(would_apply), V(would_revert) or an error code.
      type: str
    state:
      description: How the process is now, V(applied), V(not_applied), V(inconsistent) or V(unknown).
      type: str
    message:
      description: The verdict in words.
      type: str
    remedy:
      description: The cheapest way to close the gap, V(none), V(apply), V(restart_service), V(restart_process) or V(reboot).
      type: str
    stop_us:
      description: For how many microseconds it was stopped at most in one attempt; 0 when it was not.
      type: float
    attempts:
      description: How often it was stopped, until no thread was in the way.
      type: int
    threads:
      description: How many threads were stopped.
      type: int
    mitigations:
      description:
        - What protects the process, with RV(ignore:ppl), RV(ignore:acg), RV(ignore:cig), RV(ignore:cfg), RV(ignore:cet) and
          RV(ignore:bitness).
      type: dict
    payloads:
      description: The payloads in force in this module of the process.
      type: list
      elements: str
    blocking:
      description: The thread that was in the way, or null.
      type: dict
      contains:
        thread:
          description: The id of the thread; 0 for a parked fiber.
          type: int
        function:
          description: The function of the payload that it is in, or will return into.
          type: str
        stack:
          description: Its stack, as modules and offsets, the innermost first.
          type: list
          elements: str
    sites:
      description:
        - The places that are changed, with RV(ignore:function), RV(ignore:rva), what stands there, RV(ignore:before), and what is
          to stand there, RV(ignore:after), which is empty where the place of the new code is not chosen yet.
      type: list
      elements: dict
summary:
  description: How many processes had which outcome.
  returned: success
  type: dict
  sample: {"applied": 1, "already_applied": 0, "refused": 0, "busy": 0, "failed": 0, "inconsistent": 0}
probe:
  description: What the probe found, with RV(ignore:before) and RV(ignore:after).
  returned: when O(probe) is given
  type: dict
apply:
  description: The report of the application that was reverted.
  returned: when the probe failed afterwards
  type: dict
revert:
  description: The report of the automatic revert.
  returned: when the probe failed afterwards
  type: dict
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
