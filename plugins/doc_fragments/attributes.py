# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module of this collection promises, and what all that talk to a host share."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes for the modules' documentation."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Answers what it would do and changes nothing.
  diff_mode:
    description: Returns what changed, or would change, in the form C(--diff) shows.
  idempotent:
    description: Run again with the same arguments, it changes nothing and says so.
  async:
    description: Can be run with the C(async) keyword.
  platform:
    description: The target it works on.
    platforms: windows
"""

    ACTION_GROUP = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/hotpatch.windows.hotpatch) in C(module_defaults) to give an option to all modules of the group.
    support: full
    membership:
      - hotpatch.windows.hotpatch
"""

    AGENT = r"""
options: {}
attributes:
  async:
    support: none
    details:
      - The part that takes long is a job of the agent that goes on when the connection is lost; running the task again finds it.
notes:
  - Works over the connections P(hotpatch.windows.winrs#connection), P(ansible.builtin.psrp#connection), P(ansible.builtin.winrm#connection)
    and P(ansible.builtin.ssh#connection) with PowerShell. The account must be a local administrator.
  - The variable C(hotpatch_windows_agent_mode) says how the agent is used. V(resident), the default, means that the role
    P(hotpatch.windows.agent#role) has installed it; where it has not, tasks that only read, and check mode, send the program, use it and
    remove it again, and tasks that change the host fail. V(transient) does the same for every task. RV(agent.mode) says what was done.
  - The variable C(hotpatch_windows_agent_path) names another agent program than the one that the role P(hotpatch.windows.agent#role)
    ships.
  - The variable C(hotpatch_windows_lab) must be true for hosts of the test lab, whose agent is a special build, and for no other.
"""
