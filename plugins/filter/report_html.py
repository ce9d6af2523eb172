# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter ``hotpatch.windows.report_html``; its documentation is the file of the same name beside it."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError
from ansible_collections.hotpatch.windows.plugins.plugin_utils._report import collect, render


def report_html(data: Mapping[str, t.Any]) -> str:
    """The report of a fleet as one HTML page."""
    if not isinstance(data, Mapping):
        raise AnsibleFilterError(f"report_html needs a mapping, not {type(data).__name__}.")
    try:
        return render(collect(data))
    except HotpatchError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """Names to functions."""
        return {"report_html": report_html}
