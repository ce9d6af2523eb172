#!/usr/bin/env python3
# SPDX-FileCopyrightText: hotpatch.windows contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How do the agent and the documentation learn the error codes of the collection?

The table in ``plugins/plugin_utils/_errors.py`` is read and written again as a C++ header (``--header PATH``) or as a page of
the documentation (``--docs PATH``). A file is only written when its content changes, so that builds stay incremental;
``--check`` writes nothing and exits 1 when a file is out of date.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import typing as t
from pathlib import Path

REPOSITORY: t.Final = Path(__file__).resolve().parents[2]
TABLE: t.Final = REPOSITORY / "plugins" / "plugin_utils" / "_errors.py"

OUTCOMES: t.Final = {
    "refused": "checked beforehand; nothing was touched",
    "busy": "tried and given up cleanly; may work later",
    "failed": "begun and undone; the host is as it was",
    "inconsistent": "restart the process that is named",
}


class Row(t.NamedTuple):
    """One code of the table."""

    code: str
    outcome: str
    text: str
    remedy: str


def read_table(path: Path) -> list[Row]:
    """The rows in the order of the table."""
    spec = importlib.util.spec_from_file_location("hotpatch_errors", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return [Row(code, row.outcome.value, row.text, row.remedy) for code, row in module.ERRORS.items()]


def c_string(text: str) -> str:
    """A C++ string literal; JSON's escapes of ASCII text are a subset of those of C++."""
    if not text.isascii():
        raise SystemExit(f"not ASCII: {text!r}")
    return json.dumps(text)


def header(rows: list[Row]) -> str:
    """The C++ header: the enumeration and one constant table, indexed by it."""
    enumerators = "\n".join(f"    {row.code}," for row in rows)
    table = "\n".join(
        f"    {{{c_string(row.code)}, Outcome::{row.outcome}, {c_string(row.text)},\n     {c_string(row.remedy)}}}," for row in rows
    )
    return f"""\
// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Generated from plugins/plugin_utils/_errors.py by agent/tools/generate_errors.py; do not edit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace hotpatch {{

enum class Outcome : std::uint8_t {{ refused, busy, failed, inconsistent }};

enum class Code : std::uint16_t {{
{enumerators}
}};

struct ErrorRow {{
    std::string_view code;
    Outcome outcome{{}};
    std::string_view text;
    std::string_view remedy;
}};

inline constexpr std::array<ErrorRow, {len(rows)}> error_rows{{{{
{table}
}}}};

[[nodiscard]] constexpr const ErrorRow &row_of(Code code) {{ return error_rows.at(static_cast<std::size_t>(code)); }}

// The code's name on the wire.
[[nodiscard]] constexpr std::string_view name_of(Code code) {{ return row_of(code).code; }}

// The code of a name read from a file of the agent's own.
[[nodiscard]] constexpr std::optional<Code> code_of(std::string_view name) {{
    for (std::size_t index = 0; index < error_rows.size(); ++index) {{
        if (error_rows.at(index).code == name) {{
            return static_cast<Code>(index);
        }}
    }}
    return std::nullopt;
}}

}} // namespace hotpatch
"""


def page(rows: list[Row]) -> str:
    """The page of the documentation: one table for each class of outcome."""
    parts = [
        # Not in one piece, or this line would state a licence itself.
        "<!-- SPDX-" + "License-Identifier: GPL-3.0-or-later -->",
        "<!-- SPDX-" + "FileCopyrightText: hotpatch.windows contributors -->",
        "<!-- Generated from plugins/plugin_utils/_errors.py by agent/tools/generate_errors.py; do not edit. -->",
        "# Error codes",
        "",
        "Every failure carries one of these codes, in the replies of the agent and in the results of the modules (`code`, with",
        "`msg`, `where` and `remedy`). A code never changes its meaning. Its class says what the failure means for the host.",
    ]
    for outcome, meaning in OUTCOMES.items():
        parts += ["", f"## {outcome.capitalize()}: {meaning}", "", "| code | what happened | what to do |", "|---|---|---|"]
        parts += [f"| `{row.code}` | {cell(row.text)} | {cell(row.remedy)} |" for row in rows if row.outcome == outcome]
    return "\n".join(parts) + "\n"


def cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return text.replace("|", "\\|")


def settle(path: Path, content: str, *, check: bool) -> bool:
    """Bring the file to this content (or, with ``check``, only look); true when it already had it."""
    same = path.exists() and path.read_text(encoding="utf-8") == content
    if not same and not check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return same


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", type=Path, default=TABLE, help="the table to read")
    parser.add_argument("--header", type=Path, help="the C++ header to write")
    parser.add_argument("--docs", type=Path, nargs="?", const=REPOSITORY / "docs" / "errors.md", help="the page to write")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when a file is out of date")
    arguments = parser.parse_args()
    rows = read_table(arguments.table)
    wanted = [(arguments.header, header(rows)), (arguments.docs, page(rows))]
    stale = [path for path, content in wanted if path is not None and not settle(path, content, check=arguments.check)]
    for path in stale if arguments.check else []:
        print(f"{path} is out of date: run {Path(__file__).name}", file=sys.stderr)
    return 1 if arguments.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
