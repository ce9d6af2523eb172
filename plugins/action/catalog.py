# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Makes one catalog of the snapshot, the feed and own lists, on the controller."""

from __future__ import annotations

import hashlib
import pathlib
import typing as t
import urllib.error
from collections.abc import Iterator

from ansible.module_utils.urls import ConnectionError as UrlConnectionError
from ansible.module_utils.urls import SSLValidationError, open_url

from ansible_collections.hotpatch.windows.plugins.plugin_utils._action import Arguments, DocumentedAction, Result
from ansible_collections.hotpatch.windows.plugins.plugin_utils._catalog_files import (
    MAX_DOCUMENT,
    load_catalog,
    load_own_list,
    read_feed,
    read_feed_file,
    shipped_catalog,
    write_catalog,
)
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import Catalog, Month, merge
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.feed import feed_name
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision.summary import outline, summarize_months
from ansible_collections.hotpatch.windows.plugins.plugin_utils._errors import HotpatchError
from ansible_collections.hotpatch.windows.plugins.plugin_utils._judge import date_of


class ActionModule(DocumentedAction):
    """``hotpatch.windows.catalog``"""

    def work(self, arguments: Arguments) -> Result:
        """Read all sources, merge them, and write the file when its content differs."""
        dest = pathlib.Path(arguments["dest"]) if arguments["dest"] else None
        before = load_catalog(dest) if dest is not None and dest.exists() else None
        catalog = self._catalog(arguments, before)
        text = catalog.to_json()
        # Compared by content: a file of the same catalog in another layout is left alone.
        changed = dest is not None and (before is None or before != catalog)
        if dest is not None and changed and not self.check_mode:
            write_catalog(dest, text)
        result = {
            "changed": changed,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "date": catalog.date.isoformat() if catalog.date else None,
            "sources": catalog.as_dict()["sources"],
            "months": [row.as_dict() for row in summarize_months(catalog)],
            "fixes": [fix.id for fix in catalog.fixes],
        }
        if dest is None:
            return result
        if self._task.diff:
            texts = {"before": outline(before) if before is not None else "", "after": outline(catalog)}
            result["diff"] = {"before_header": str(dest), "after_header": str(dest), **texts}
        return {**result, "dest": str(dest)}

    def _catalog(self, arguments: Arguments, before: Catalog | None) -> Catalog:
        parts = [shipped_catalog()] if arguments["shipped_catalog"] else []
        parts += [before] if before is not None and arguments["update"] else []
        parts += [read_feed_file(self.find_file(name, "feeds"), arguments["products"]) for name in arguments["feeds"]]
        parts += self._fetched(arguments, merge(parts))
        parts += [load_own_list(self.find_file(name, "own_lists")) for name in arguments["own_lists"]]
        if not parts:
            raise HotpatchError("argument_conflict", "No source is left to make a catalog of.", where="shipped_catalog")
        return merge(parts)

    def _fetched(self, arguments: Arguments, known: Catalog) -> Iterator[Catalog]:
        for name in dict.fromkeys(arguments["months"]):
            if name == "missing":
                for month in _missing(known, Month.of(date_of(arguments["date"]))):
                    if (catalog := self._fetch(arguments, month, may_lack=True)) is not None:
                        yield catalog
            elif (catalog := self._fetch(arguments, _month(name), may_lack=False)) is not None:
                yield catalog

    def _fetch(self, arguments: Arguments, month: Month, *, may_lack: bool) -> Catalog | None:
        url = f"{arguments['url'].rstrip('/')}/{feed_name(month)}"
        try:
            with open_url(
                url,
                headers={"Accept": "application/xml"},
                use_proxy=arguments["use_proxy"],
                validate_certs=arguments["validate_certs"],
                timeout=arguments["timeout"],
                http_agent="hotpatch.windows",
            ) as reply:
                data = t.cast(bytes, reply.read(MAX_DOCUMENT + 1))
        except urllib.error.HTTPError as problem:
            if problem.code == 404 and may_lack:
                self._display.warning(f"The feed has no document for {month} yet.")
                return None
            raise HotpatchError("feed_unreachable", f"The feed answers {problem.code} for {month}.", where=url) from problem
        except (OSError, UrlConnectionError, SSLValidationError) as problem:
            raise HotpatchError("feed_unreachable", f"The feed does not answer: {problem}.", where=url) from problem
        return read_feed(data, arguments["products"], where=url)


def _month(text: str) -> Month:
    try:
        return Month.parse(text)
    except ValueError as problem:
        raise HotpatchError("argument_invalid", f"{problem}, nor 'missing'.", where="months") from problem


def _missing(known: Catalog, last: Month) -> Iterator[Month]:
    """From the month after the newest one whose CVEs are known (at most a year back) to ``last``."""
    read = [month for product in known.products for month, entry in known.months(product) if entry.cves_known]
    month = max(max(read).next(), last.next(-11)) if read else last.next(-11)
    while month <= last:
        yield month
        month = month.next()
