# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's command line.

python -m lab up --hosts 3      starts hosts in the background and writes their Ansible inventory
python -m lab status            which hosts there are, and how they are
python -m lab shell web1 [...]  a command prompt on a host, or one command
python -m lab logs web1         what happened to a host, and what its services wrote
python -m lab down              ends everything
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from lab import rpc
from lab.host import Host
from lab.lab import CACHE, Lab
from lab.spec import HostSpec
from lab.wine import LabError


def _up(lab: Lab, arguments: argparse.Namespace) -> int:
    lab.start(detached=True)
    try:
        for number in range(1, arguments.hosts + 1):
            host = lab.create(HostSpec(f"{arguments.prefix}{number}"))
            host.up()
            print(f"{host.name}  https://{host.address}:{host.https_port}/wsman  {host.user}", file=sys.stderr)
    except BaseException:
        lab.stop()
        raise
    inventory = lab.root / "inventory.yml"
    inventory.touch(mode=0o600)
    inventory.write_text(yaml.safe_dump(lab.inventory(), sort_keys=False))
    print(inventory.read_text(), end="")
    print(f"written to {inventory}", file=sys.stderr)
    return 0


def _down(lab: Lab, arguments: argparse.Namespace) -> int:
    everywhere = [path.parent for depth in ("*", "*/*") for path in CACHE.glob(f"{depth}/{rpc.GUARDIAN_SOCKET}")]
    roots = everywhere if arguments.all else [lab.root]
    for root in roots:
        Lab(root).stop()
        (root / "inventory.yml").unlink(missing_ok=True)
    return 0


def _status(lab: Lab, arguments: argparse.Namespace) -> int:
    del arguments
    if not lab.is_running:
        print(f"no lab runs in {lab.root}")
        return 1
    form = "{:<16} {:<6} {:>5} {:>6} {:>6} {:<34} {:<14} {}"
    print(form.format("HOST", "STATE", "BOOTS", "HTTP", "HTTPS", "PRODUCT", "LEVEL", "AGENT"))
    for host in lab.hosts:
        ubr = host.registry_get(r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion", "UBR")
        state, agent = ("up", host.service_state("hotpatch-agent")) if host.is_up else ("down", "-")
        level = f"{host.spec.build}.{ubr}"
        print(form.format(host.name, state, host.boot_count, host.http_port, host.https_port, host.spec.product, level, agent))
    return 0


def _shell(lab: Lab, arguments: argparse.Namespace) -> int:
    host = lab.host(arguments.host)
    return host.attach(arguments.command or ["cmd"])


def _logs(lab: Lab, arguments: argparse.Namespace) -> int:
    host: Host = lab.host(arguments.host)
    print(host.log.read_text(), end="")
    for event in host.event_log():
        print(f"event {event.level}: {event.text}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description="Windows hosts on Linux")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--root", type=Path, default=None, help="where the lab keeps its hosts (default: .build/lab/default)")
    verbs = parser.add_subparsers(required=True)
    up = verbs.add_parser("up", parents=[common], help="start hosts in the background and print their Ansible inventory")
    up.add_argument("--hosts", type=int, default=1)
    up.add_argument("--prefix", default="web", help="names are this and a number")
    up.set_defaults(run=_up)
    down = verbs.add_parser("down", parents=[common], help="end every host and remove its disk")
    down.add_argument("--all", action="store_true", help="every lab of this checkout")
    down.set_defaults(run=_down)
    status = verbs.add_parser("status", parents=[common], help="show the hosts")
    status.set_defaults(run=_status)
    shell = verbs.add_parser("shell", parents=[common], help="run a command on a host, by default a command prompt")
    shell.add_argument("host")
    shell.add_argument("command", nargs=argparse.REMAINDER)
    shell.set_defaults(run=_shell)
    logs = verbs.add_parser("logs", parents=[common], help="show a host's log and what its services wrote")
    logs.add_argument("host")
    logs.set_defaults(run=_logs)
    return parser


def main() -> int:
    """Entry point."""
    arguments = _parser().parse_args()
    try:
        return int(arguments.run(Lab(arguments.root), arguments))
    except (LabError, rpc.RemoteError, OSError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
