# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation, argument specs, actions and action groups say the same."""

from __future__ import annotations

import importlib
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.hotpatch.windows.plugins.plugin_utils._docs import Rules, argument_spec, documentation, validate
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

ROOT = Path(__file__).parents[3]
PACKAGE = "ansible_collections.hotpatch.windows.plugins"
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
PROMISES = ("check_mode", "diff_mode", "idempotent", "platform")


@pytest.mark.parametrize("module", MODULES)
def test_every_module_documents_its_promises(module: str) -> None:
    attributes = documentation(module)["attributes"]
    assert {"support", "description"} <= set(attributes["check_mode"])
    assert set(PROMISES) <= set(attributes)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_an_action_that_is_typed_by_its_documentation(module: str) -> None:
    action = importlib.import_module(f"{PACKAGE}.action.{module}").ActionModule
    assert action.module_name() == module
    rules = getattr(action, "rules", Rules())
    named = {name for group in (*rules.mutually_exclusive, *rules.required_one_of, *rules.required_together) for name in group}
    named |= {name for rule in rules.required_if for name in (rule[0], *rule[2])} | rules.no_log
    assert named <= set(argument_spec(module))


@pytest.mark.parametrize("module", MODULES)
def test_examples_only_use_documented_options(module: str) -> None:
    code = importlib.import_module(f"{PACKAGE}.modules.{module}")
    used = 0
    for task in yaml.safe_load(code.EXAMPLES):
        for name, arguments in task.items():
            if name == f"hotpatch.windows.{module}":
                used += 1
                assert set(arguments or {}) <= set(argument_spec(module)), task["name"]
    assert used > 0


def test_the_action_group_holds_what_the_documentation_says() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    members = [module for module in MODULES if "action_group" in documentation(module)["attributes"]]
    assert runtime["action_groups"] == {"hotpatch": members}


def test_defaults_and_types_come_out_complete() -> None:
    assert validate("stage", {"files": [{"src": "a", "size": "5"}]}) == {
        "state": "present",
        "files": [{"src": "a", "url": None, "sha256": None, "size": 5, "proxy": None}],
    }


@pytest.mark.parametrize(
    ("module", "arguments", "rules", "code"),
    [
        ("stage", {}, None, "argument_invalid"),
        ("stage", {"files": "x"}, None, "argument_invalid"),
        ("stage", {"files": [], "state": "gone"}, None, "argument_invalid"),
        ("stage", {"files": [{"sorce": "a"}]}, None, "argument_invalid"),
        ("stage", {"files": [], "bogus": 1}, None, "argument_invalid"),
        ("hotpatch", {"src": "a", "pids": ["x"]}, None, "argument_invalid"),
        ("hotpatch", {"src": "a", "payload_id": "b"}, Rules(mutually_exclusive=[("src", "payload_id")]), "argument_conflict"),
        ("no_such_module", {}, None, "argument_invalid"),
    ],
)
def test_arguments_that_do_not_fit_are_one_clear_error(module: str, arguments: dict[str, t.Any], rules: Rules | None, code: str) -> None:
    with pytest.raises(HotpatchError) as caught:
        validate(module, arguments, rules)
    assert caught.value.code == code
