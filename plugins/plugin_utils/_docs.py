# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# FOR INTERNAL COLLECTION USE ONLY
# The interfaces in this file are meant for use within the hotpatch.windows collection
# and may not remain stable to outside uses. Changes may be made in ANY release, even a bugfix release.

"""Do the arguments of a task fit what the module's documentation promises?

The documentation is the argument spec: there is no second list that could disagree with it. What documentation cannot say
(which options exclude or require each other) is given by the action as :class:`Rules`.
"""

from __future__ import annotations

import functools
import importlib
import typing as t
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.errors import MutuallyExclusiveError
from ansible.utils.plugin_docs import get_docstring

from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError

COLLECTION: t.Final = "hotpatch.windows"
_MODULES: t.Final = Path(__file__).parent.parent / "modules"
# Keys that mean the same in a documented option and in an argument spec.
_SHARED_KEYS: t.Final = ("type", "elements", "required", "default", "aliases")


@dataclass(frozen=True)
class Rules:
    """Relations between options, in the form ArgumentSpecValidator takes them."""

    mutually_exclusive: Sequence[Sequence[str]] = ()
    required_together: Sequence[Sequence[str]] = ()
    required_one_of: Sequence[Sequence[str]] = ()
    required_if: Sequence[tuple[str, t.Any, Sequence[str]] | tuple[str, t.Any, Sequence[str], bool]] = ()
    required_by: Mapping[str, Sequence[str]] | None = None
    no_log: frozenset[str] = frozenset()
    """Top-level options whose values must never be shown."""


class _Fragments:
    """Finds documentation fragments of this collection by import, so that it also works where Ansible's plugin loaders are not set up."""

    _PACKAGE: t.Final = f"ansible_collections.{COLLECTION}.plugins.doc_fragments"

    def get(self, name: str) -> t.Any:
        """The fragments in one file, or None when this collection has no such file."""
        leaf = name.removeprefix(f"{COLLECTION}.")
        try:
            module = importlib.import_module(f"{self._PACKAGE}.{leaf}")
        except ModuleNotFoundError:
            return None
        fragment: t.Any = module.ModuleDocFragment()
        fragment.ansible_name = f"{COLLECTION}.{leaf}"  # as Ansible's own loader does
        return fragment


def documentation(module: str) -> dict[str, t.Any]:
    """The parsed DOCUMENTATION of one of this collection's modules, fragments merged.

    :param module: the short name, for example ``host_info``.
    """
    candidates = [_MODULES / f"{module}{suffix}" for suffix in (".py", ".yml")]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        raise HotpatchError("argument_invalid", f"The collection has no module '{module}'.", where=module)
    doc, _examples, _returns, _metadata = get_docstring(str(path), _Fragments(), collection_name=COLLECTION, plugin_type="module")
    return t.cast(dict[str, t.Any], doc)


@functools.lru_cache(maxsize=16)
def argument_spec(module: str, no_log: frozenset[str] = frozenset()) -> dict[str, dict[str, t.Any]]:
    """The argument spec a module's documentation amounts to."""
    spec = _spec_of(documentation(module).get("options") or {})
    for name in no_log:
        spec[name]["no_log"] = True
    return spec


def _spec_of(options: Mapping[str, Mapping[str, t.Any]]) -> dict[str, dict[str, t.Any]]:
    spec: dict[str, dict[str, t.Any]] = {}
    for name, option in options.items():
        entry = {key: option[key] for key in _SHARED_KEYS if key in option}
        if "choices" in option:
            entry["choices"] = list(option["choices"])  # a mapping of choice to its description is allowed in documentation
        if "suboptions" in option:
            entry["options"] = _spec_of(option["suboptions"])
        spec[name] = entry
    return spec


def validate(module: str, arguments: Mapping[str, t.Any], rules: Rules | None = None) -> dict[str, t.Any]:
    """The task's arguments, complete with defaults and of the documented types.

    :param module: the short name of the module.
    :param arguments: what the task gives.
    :param rules: the relations between options.
    :returns: a value for every documented option; None where neither the task nor a default gives one.
    :raises HotpatchError: ``argument_conflict`` for options that exclude each other, ``argument_invalid`` for all else.
    """
    rules = rules or Rules()
    validator = ArgumentSpecValidator(
        argument_spec(module, rules.no_log),
        mutually_exclusive=rules.mutually_exclusive or None,
        required_together=rules.required_together or None,
        required_one_of=rules.required_one_of or None,
        required_if=rules.required_if or None,
        required_by=rules.required_by,
    )
    outcome = validator.validate(dict(arguments))
    if outcome.errors.errors:
        first = outcome.errors.errors[0]
        code = "argument_conflict" if isinstance(first, MutuallyExclusiveError) else "argument_invalid"
        raise HotpatchError(code, "; ".join(outcome.error_messages) + ".", where=f"{COLLECTION}.{module}")
    return t.cast(dict[str, t.Any], outcome.validated_parameters)
