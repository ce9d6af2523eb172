// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// A program that loads the sample and does with it what the tests tell it: one command a line, one answer a line.
// It goes on doing it under whatever the engine does, and counts what it sees.
#include <atomic>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <windows.h>

using Answer = int (*)(int);
using Recurse = int (*)(int, Answer);
using WaitInside = int (*)(HANDLE, HANDLE);
using LoopInside = int (*)(volatile long *);
using Passer = int (*)(Answer, int);
using Plain = int (*)();

struct alignas(16) Registers {
    std::uint64_t general[15];
    std::uint64_t flags;
    std::uint8_t vector[16][16];
};
extern "C" void call_with_registers(void (*function)(), const Registers *before, Registers *after);

namespace {

HMODULE sample = nullptr;
volatile long looping = 0;
HANDLE entered = nullptr, leave = nullptr;
std::atomic<long> calls{0}, bad{0};
std::atomic<bool> calling{false}, storming{false};
std::vector<std::thread> workers;
std::thread inside;
std::atomic<int> inside_result{0};

template <typename T> T find(const char *name) {
    return reinterpret_cast<T>(reinterpret_cast<void *>(GetProcAddress(sample, name)));
}

bool known(int value, int unit) {
    return value == unit || value == 2 * unit || value == 3 * unit;
}
// Three levels of old code, new code, or old code that calls new.
bool in_steps(int value) {
    return value >= 3 && value <= 9;
}

// An exception takes a thousand times as long as a call, and a thread that is always in one is always in the patched function.
// More threads than a machine has processors breathe now and then, so that the machine stays usable for others.
void call_for_ever(bool breathe) {
    const auto quick = find<Answer>("short_answer");
    const auto near_one = find<Answer>("near_answer");
    const auto recurse = find<Recurse>("recurse");
    const auto catcher = find<Answer>("catcher");
    for (long round = 0; calling; ++round) {
        bool good = known(quick(0), 1) && known(near_one(4), 10) && in_steps(recurse(3, [](int) { return 0; }));
        if (round % 50000 == 0) {
            good = good && catcher(9) > 9;
        }
        bad += good ? 0 : 1;
        ++calls;
        if (breathe && round % 500 == 0) {
            Sleep(10);
        }
    }
}

void storm() {
    while (storming) {
        std::thread([] { bad += known(find<Answer>("near_answer")(1), 10) ? 0 : 1; }).join();
        ++calls;
    }
}

int wait_at_bottom(int) {
    SetEvent(entered);
    WaitForSingleObject(leave, INFINITE);
    return 0;
}

int throw_seven(int) {
    throw std::string("seven");
}

std::string pass_exception() {
    try {
        return std::to_string(find<Passer>("passer")(throw_seven, 1));
    } catch (const std::string &text) {
        return "caught " + text;
    }
}

// Random contents in every register; rax and what is not asked for must come back as they went in. The number of differences.
int register_differences(int rounds) {
    std::mt19937_64 random(20260101);
    int differences = 0;
    for (int round = 0; round < rounds; ++round) {
        Registers before{}, after{};
        for (auto &value : before.general) {
            value = random();
        }
        for (auto &vector : before.vector) {
            for (auto &byte : vector) {
                byte = static_cast<std::uint8_t>(random());
            }
        }
        before.flags = 0x202 | (random() & 0x8D5 & ~std::uint64_t{0x100});
        call_with_registers(find<void (*)()>("register_probe"), &before, &after);
        const bool same =
            std::memcmp(&before.general[1], &after.general[1], sizeof before.general - sizeof before.general[0]) == 0 &&
            std::memcmp(before.vector, after.vector, sizeof before.vector) == 0 && ((before.flags ^ after.flags) & 0x8D5) == 0;
        differences += same && known(static_cast<int>(after.general[0]), 1) ? 0 : 1;
    }
    return differences;
}

std::string deep_inside(const std::string &how) {
    ResetEvent(entered);
    ResetEvent(leave);
    inside_result = 0;
    if (how == "loop") {
        looping = 1;
        inside = std::thread([] { inside_result = find<LoopInside>("loop_inside")(&looping); });
        Sleep(50);
        return "looping";
    }
    inside = std::thread([how] {
        inside_result =
            how == "recurse" ? find<Recurse>("recurse")(20, wait_at_bottom) : find<WaitInside>("wait_inside")(entered, leave);
    });
    WaitForSingleObject(entered, INFINITE);
    return "inside";
}

struct Fibers {
    void *main = nullptr, *other = nullptr;
};
Fibers fibers;
void CALLBACK fiber_body(void *) {
    // Parked: this stack belongs to no thread while the main fiber runs.
    inside_result = find<Recurse>("recurse")(5, [](int) {
        SwitchToFiber(fibers.main);
        return 0;
    });
    SwitchToFiber(fibers.main);
}

std::string command(const std::string &line) {
    std::istringstream words(line);
    std::string verb, argument;
    words >> verb;
    std::getline(words >> std::ws, argument);
    const int number = std::atoi(argument.c_str());
    if (verb == "load") {
        const auto module = LoadLibraryA(argument.c_str());
        sample = sample == nullptr ? module : sample;
        return module != nullptr ? "loaded" : "error " + std::to_string(GetLastError());
    }
    if (verb == "unload") {
        FreeLibrary(sample);
        sample = nullptr;
        return "unloaded";
    }
    if (verb == "call") {
        return std::to_string(find<Answer>(argument.c_str())(number));
    }
    if (verb == "catch") {
        return std::to_string(find<Answer>("catcher")(number));
    }
    if (verb == "pass") {
        return pass_exception();
    }
    if (verb == "recurse") {
        return std::to_string(find<Recurse>("recurse")(number, [](int) { return 0; }));
    }
    if (verb == "registers") {
        return std::to_string(register_differences(number));
    }
    if (verb == "keep") {
        find<void (*)()>("keep_callback")();
        return std::to_string((*find<Answer *>("kept_callback"))(0));
    }
    if (verb == "kept") {
        return std::to_string((*find<Answer *>("kept_callback"))(0));
    }
    if (verb == "inside") {
        return deep_inside(argument);
    }
    if (verb == "leave") {
        looping = 0;
        SetEvent(leave);
        inside.join();
        return std::to_string(inside_result);
    }
    if (verb == "fiber") {
        fibers.main = ConvertThreadToFiber(nullptr);
        fibers.other = CreateFiber(0, fiber_body, nullptr);
        SwitchToFiber(fibers.other);
        return "parked";
    }
    if (verb == "unfiber") {
        SwitchToFiber(fibers.other);
        DeleteFiber(fibers.other);
        ConvertFiberToThread();
        return std::to_string(inside_result);
    }
    if (verb == "threads") {
        calling = true;
        for (int index = 0; index < number; ++index) {
            workers.emplace_back(call_for_ever, number > 8);
        }
        return "calling";
    }
    if (verb == "storm") {
        storming = true;
        for (int index = 0; index < number; ++index) {
            workers.emplace_back(storm);
        }
        return "storming";
    }
    if (verb == "stop") {
        calling = storming = false;
        for (auto &worker : workers) {
            worker.join();
        }
        workers.clear();
        return std::to_string(calls) + " " + std::to_string(bad);
    }
    if (verb == "count") {
        return std::to_string(calls) + " " + std::to_string(bad);
    }
    if (verb == "poke") { // someone else's jump at the entry
        auto *code = find<std::uint8_t *>(argument.c_str());
        DWORD before = 0;
        VirtualProtect(code, 5, PAGE_READWRITE, &before);
        const std::uint8_t jump[] = {0xE9, 0, 0, 0, 0};
        std::memcpy(code, jump, sizeof jump);
        VirtualProtect(code, 5, before, &before);
        return "poked";
    }
    if (verb == "protection") {
        MEMORY_BASIC_INFORMATION info{};
        VirtualQuery(find<void *>(argument.c_str()), &info, sizeof info);
        return std::to_string(info.Protect);
    }
    if (verb == "usage") {
        DWORD handles = 0;
        GetProcessHandleCount(GetCurrentProcess(), &handles);
        std::uint64_t committed = 0, executable = 0, writable_code = 0;
        for (std::uint64_t address = 0x10000; address < 0x7FFFFFFE0000;) {
            MEMORY_BASIC_INFORMATION info{};
            if (VirtualQuery(reinterpret_cast<void *>(address), &info, sizeof info) == 0) {
                break;
            }
            const bool code = info.State == MEM_COMMIT && (info.Protect & 0xF0) != 0;
            committed += info.State == MEM_COMMIT && info.Type == MEM_PRIVATE ? info.RegionSize : 0;
            executable += code && info.Type == MEM_PRIVATE ? info.RegionSize : 0;
            writable_code +=
                code && (info.Protect & (PAGE_EXECUTE_READWRITE | PAGE_EXECUTE_WRITECOPY)) != 0 ? info.RegionSize : 0;
            address = reinterpret_cast<std::uint64_t>(info.BaseAddress) + info.RegionSize;
        }
        return std::to_string(handles) + " " + std::to_string(committed) + " " + std::to_string(executable) + " " +
               std::to_string(writable_code);
    }
    return "unknown command";
}

} // namespace

int main() {
    entered = CreateEventA(nullptr, TRUE, FALSE, nullptr);
    leave = CreateEventA(nullptr, TRUE, FALSE, nullptr);
    std::cout << GetCurrentProcessId() << std::endl;
    for (std::string line; std::getline(std::cin, line) && line != "exit";) {
        while (!line.empty() && line.back() == '\r') {
            line.pop_back();
        }
        std::cout << command(line) << std::endl;
    }
    TerminateProcess(GetCurrentProcess(), 0);
}
