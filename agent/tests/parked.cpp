// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// A DLL with a function in which a thread stays as long as it is told to, and the program around it (-DPROGRAM), which loads it
// when told to: each line that it reads is a command, each line that it prints the answer. STEP is what differs between the
// builds of the DLL.
#include <windows.h>

#ifndef PROGRAM

#ifndef STEP
#define STEP 1
#endif

extern "C" __declspec(dllexport) __attribute__((noipa)) int step(int value) {
    return value * 10 + STEP;
}

extern "C" __declspec(dllexport) int work(const volatile long *stay) {
    while (*stay != 0)
        Sleep(5);
    return step(STEP);
}

#else

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

namespace {

using Work = int (*)(const volatile long *);

volatile long stay = 0;
int parked_result = 0;
std::vector<void *> taken;

Work find_work() {
    const HMODULE module = LoadLibraryA("parked.dll");
    const FARPROC found = module == nullptr ? nullptr : GetProcAddress(module, "work");
    Work work = nullptr;
    std::memcpy(&work, &found, sizeof work);
    return work;
}

// Takes every free block within reach of the DLL, so that no new code finds a place.
void take_memory_around(std::uint64_t module) {
    constexpr std::uint64_t reach = 0x80000000, unit = 0x10000;
    for (std::uint64_t address = module > reach ? module - reach : unit; address < module + reach;) {
        MEMORY_BASIC_INFORMATION info{};
        if (VirtualQuery(reinterpret_cast<void *>(address), &info, sizeof info) == 0)
            return;
        const auto end = reinterpret_cast<std::uint64_t>(info.BaseAddress) + info.RegionSize;
        const auto first = (address + unit - 1) / unit * unit, last = std::min(end, module + reach) / unit * unit;
        if (info.State == MEM_FREE && last > first)
            taken.push_back(VirtualAlloc(reinterpret_cast<void *>(first), last - first, MEM_RESERVE, PAGE_NOACCESS));
        address = end;
    }
}

} // namespace

int main() {
    Work work = nullptr;
    std::printf("%lu\n", GetCurrentProcessId());
    std::fflush(stdout);
    std::thread parked;
    char line[64];
    while (std::fgets(line, sizeof line, stdin) != nullptr) {
        if (std::strncmp(line, "load", 4) == 0) {
            work = find_work();
            if (work == nullptr)
                return 1;
            std::puts("loaded");
        } else if (std::strncmp(line, "park", 4) == 0) {
            stay = 1;
            parked = std::thread([work] { parked_result = work(&stay); });
            Sleep(100); // long enough for a thread to be inside
            std::puts("parked");
        } else if (std::strncmp(line, "leave", 5) == 0) {
            stay = 0;
            parked.join();
            std::printf("%d\n", parked_result);
        } else if (std::strncmp(line, "fill", 4) == 0) {
            take_memory_around(reinterpret_cast<std::uint64_t>(GetModuleHandleA("parked.dll")));
            std::puts("full");
        } else if (std::strncmp(line, "free", 4) == 0) {
            for (void *block : taken)
                VirtualFree(block, 0, MEM_RELEASE);
            std::puts("free");
        } else {
            const volatile long no = 0;
            std::printf("%d\n", work(&no));
        }
        std::fflush(stdout);
    }
    stay = 0;
    if (parked.joinable())
        parked.join();
    return 0;
}

#endif
