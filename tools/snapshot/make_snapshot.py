# Copyright: hotpatch.windows contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later


"""Make the catalog snapshot that the collection ships, from the calendar beside this script and documents of Microsoft's feed.

    PYTHONPATH=.build tools/snapshot/make_snapshot.py FEED_FILE... [--output FILE]

Feed files are CVRF documents (XML or JSON, plain or xz-compressed) as hotpatch.windows.catalog takes them. The result is the same for
the same files, whatever their order. ``make`` links the checkout into .build as an importable collection.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

from ansible_collections.hotpatch.windows.plugins.plugin_utils._catalog_files import SNAPSHOT, load_catalog, read_feed_file
from ansible_collections.hotpatch.windows.plugins.plugin_utils._decision import merge


def main() -> int:
    """Write the snapshot; 0 when it was written or is the same."""
    parser = argparse.ArgumentParser(description="Make the catalog snapshot that the collection ships.")
    parser.add_argument("feed", nargs="+", type=pathlib.Path, help="documents of the feed")
    parser.add_argument("--output", type=pathlib.Path, default=SNAPSHOT, help="the file to write (default: the shipped snapshot)")
    arguments = parser.parse_args()
    calendar = load_catalog(pathlib.Path(__file__).with_name("calendar.yml"))
    feeds = sorted((read_feed_file(path) for path in arguments.feed), key=lambda catalog: (catalog.date is not None, catalog.date))
    catalog = merge([calendar, *feeds])
    arguments.output.write_text(catalog.to_json(), encoding="ascii")
    print(f"{arguments.output}: {len(feeds)} documents, {sum(len(months) for months in catalog.products.values())} months")
    return 0


if __name__ == "__main__":
    sys.exit(main())
