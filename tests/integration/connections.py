# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection plugin on a host of the lab, without a playbook around it."""

from __future__ import annotations

import typing as t

import yaml
from ansible.playbook.play_context import PlayContext

from ansible_collections.hotpatch.windows.plugins.connection import winrs
from lab.host import Host


def connect(host: Host, **options: t.Any) -> t.Any:
    """A connection to the host with the plugin's own defaults, over HTTPS unless ``protocol="http"``.

    :param options: options of the plugin in place of those.
    """
    documented = yaml.safe_load(winrs.DOCUMENTATION)["options"]
    http = options.get("protocol") == "http"
    connection = winrs.Connection(PlayContext())
    connection._options = {
        **{name: option.get("default") for name, option in documented.items()},
        "remote_addr": host.address,
        "port": host.http_port if http else host.https_port,
        "remote_user": host.user,
        "remote_password": host.password,
        "ca_cert": str(host.certificate),
        "reconnection_retries": 0,
        **options,
    }
    return connection
