// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The second fix, which takes the place of the first.
#define STEP 3
#include "fix.inc"
