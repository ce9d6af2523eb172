// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The module that the benchmarks patch. Its old and its new build differ in STEP alone, so that both take the same time: what a
// call of the patched function costs more is the redirection.

#define EXPORT __declspec(dllexport) __attribute__((noipa))

// Stands in front of answer(), without a gap where the module is built without padding.
EXPORT int neighbour(int value) {
    return value ^ 7;
}

EXPORT int answer(int value) {
    return (value * 3) ^ STEP;
}
