// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Is a file an update package at all?
#pragma once

#include <string>

#include "result.hpp"

namespace hotpatch {

// A cabinet that is whole, whose data has the checksums it carries, and that holds an update; or a WIM (package_damaged).
// Windows' own installers have one error for everything, and some Windows cannot tell a damaged package from one that does not
// apply, so this is asked first.
[[nodiscard]] Status check_package(const std::wstring &path);

} // namespace hotpatch
