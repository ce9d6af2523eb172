// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// One query to WMI, through COM.
#pragma once

#include <map>
#include <string>
#include <variant>
#include <vector>

#include "result.hpp"

namespace hotpatch::wmi {

using Value = std::variant<std::monostate, std::int64_t, std::string>;
using Row = std::map<std::wstring, Value>;

// The named properties of every object the query gives (at most 10,000). Initialises COM for this thread while it runs.
[[nodiscard]] Result<std::vector<Row>> query(const std::wstring &name_space, const std::wstring &text,
                                             const std::vector<std::wstring> &properties);

} // namespace hotpatch::wmi
