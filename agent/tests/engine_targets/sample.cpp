// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The module that the engine's tests patch. Each function says what the fixes (fix_one.cpp, fix_two.cpp) make of it.
#include <windows.h>

#define EXPORT extern "C" __declspec(dllexport) __attribute__((noipa))
#define HOTPATCHABLE __attribute__((ms_hook_prologue)) // padding in front and a first instruction of at least two bytes

using Callback = int (*)(int);

// 1, then 2, then 3. Its entry can be exchanged without a stop.
EXPORT HOTPATCHABLE int short_answer(int) {
    return 1;
}

// 10, then 20, then 30. No padding: five bytes at the entry.
EXPORT int near_answer(int value) {
    volatile int kept = value;
    return kept * 0 + 10;
}

// Recursion of old code stays in old code until it is left: 1 for each level, then 2 for each level.
EXPORT int recurse(int depth, Callback at_bottom) {
    if (depth == 0) {
        return at_bottom(0);
    }
    const int below = recurse(depth - 1, at_bottom);
    return below + 1;
}

// Waits inside for as long as it is told; 100, then 200.
EXPORT int wait_inside(HANDLE entered, HANDLE leave) {
    SetEvent(entered);
    WaitForSingleObject(leave, INFINITE);
    return 100;
}

// Computes without end while the flag stands; 1000, then 2000.
EXPORT int loop_inside(volatile long *flag) {
    while (*flag != 0) {
    }
    return 1000;
}

// A C++ exception from old code that new code calls, and from new code that old code called.
EXPORT int thrower(int value) {
    if (value > 5) {
        throw value;
    }
    return value;
}

// Catches what thrower() throws: value + 1, then value + 2.
EXPORT int catcher(int value) {
    try {
        return thrower(value);
    } catch (int caught) {
        return caught + 1;
    }
}

// Lets an exception of its callback pass: the callback's result + 1, then + 2.
EXPORT int passer(Callback callback, int value) {
    const int result = callback(value);
    return result + 1;
}

// Keeps a callback: the old one gives 7, the fix leaves a pointer into new code behind, which gives 8.
int old_kept(int) {
    return 7;
}
extern "C" {
__declspec(dllexport) Callback kept_callback = old_kept;
}
EXPORT void keep_callback() {
    kept_callback = old_kept;
}

// What the calling thread keeps in a slot of TlsAlloc's, with 1, then 2 added.
extern "C" {
__declspec(dllexport) DWORD tls_slot = TLS_OUT_OF_INDEXES;
}
EXPORT int tls_slot_plus(int) {
    return static_cast<int>(reinterpret_cast<INT_PTR>(TlsGetValue(tls_slot))) + 1;
}

BOOL WINAPI DllMain(HINSTANCE, DWORD reason, LPVOID) {
    if (reason == DLL_PROCESS_ATTACH) {
        tls_slot = TlsAlloc();
    }
    return TRUE;
}
