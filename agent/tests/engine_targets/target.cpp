// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// A program that loads the sample and does with it what the tests tell it: one command a line, one answer a line.
// It goes on doing it under whatever the engine does, and counts what it sees.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <windows.h>

#include "holdings.hpp"

using Answer = int (*)(int);
using Recurse = int (*)(int, Answer);
using WaitInside = int (*)(HANDLE, HANDLE);
using LoopInside = int (*)(volatile long *);
using Passer = int (*)(Answer, int);
using Plain = int (*)();

struct X87 { // as FNSAVE stores it
    std::uint32_t control, status, tags, pointers[4];
    std::uint8_t registers[80];
};
struct alignas(16) Registers {
    std::uint64_t general[15];
    std::uint64_t flags;
    std::uint8_t vector[16][32];
    std::uint32_t mxcsr;
    std::uint32_t has_avx;
    X87 x87;
};
static_assert(offsetof(Registers, mxcsr) == 640 && offsetof(Registers, x87) == 648 && sizeof(X87) == 108);
extern "C" void call_with_registers(void (*function)(), const Registers *before, Registers *after);

namespace {

HMODULE sample = nullptr;
volatile long looping = 0;
HANDLE entered = nullptr, leave = nullptr, begin = nullptr;
std::atomic<long> calls{0}, bad{0};
std::atomic<bool> calling{false}, storming{false};
std::atomic<int> ready{0};
std::vector<std::thread> workers;
std::thread inside;
std::atomic<int> inside_result{0};
std::vector<void *> reserved;

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
void call_for_ever() {
    ++ready; // has no lock of the system's any more, as a thread that just starts has
    WaitForSingleObject(begin, INFINITE);
    const auto quick = find<Answer>("short_answer");
    const auto near_one = find<Answer>("near_answer");
    const auto recurse = find<Recurse>("recurse");
    const auto catcher = find<Answer>("catcher");
    for (long round = 0; calling; ++round) {
        bool good = known(quick(0), 1) && known(near_one(4), 10) && in_steps(recurse(3, [](int) { return 0; }));
        if (round % 500000 == 499999) { // not at once: who unwinds holds the loader's lock, also while somebody has suspended him
            good = good && catcher(9) > 9;
        }
        bad += good ? 0 : 1;
        ++calls;
    }
}

// Every thread has a number of its own in the module's static thread-local storage and in a slot.
void call_with_thread_local(int number) {
    const auto static_plus = find<Answer>("tls_value_plus");
    const auto slot_plus = find<Answer>("tls_slot_plus");
    const auto slot = *find<DWORD *>("tls_slot");
    find<void (*)(int)>("set_tls_value")(number);
    TlsSetValue(slot, reinterpret_cast<void *>(static_cast<INT_PTR>(number)));
    while (calling) {
        bad += known(static_plus(0) - number, 1) && known(slot_plus(0) - number, 1) ? 0 : 1;
        ++calls;
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

constexpr std::uint64_t status_flags = 0xCD5;      // carry, parity, adjust, zero, sign, direction, overflow
constexpr std::uint32_t x87_masks = 0x037F;        // every exception masked, full precision
constexpr std::uint32_t x87_rounding = 0x0C00;     // of the control word
constexpr std::uint32_t x87_conditions = 0x7F3F;   // of the status word: what no exception sets by itself
constexpr std::uint32_t mxcsr_masks = 0x1F80;      // every exception masked
constexpr std::uint32_t mxcsr_changeable = 0xE07F; // rounding, flush to zero, denormals, and the exceptions seen

template <typename T> void randomize(std::mt19937_64 &random, T &bytes) {
    for (auto &byte : bytes) {
        byte = static_cast<std::uint8_t>(random());
    }
}

Registers random_registers(std::mt19937_64 &random) {
    static const bool avx = __builtin_cpu_supports("avx") != 0;
    Registers made{};
    for (auto &value : made.general) {
        value = random();
    }
    for (auto &vector : made.vector) {
        randomize(random, vector);
        if (!avx) {
            std::memset(vector + 16, 0, 16);
        }
    }
    made.flags = 0x202 | (random() & status_flags);
    made.mxcsr = mxcsr_masks | (static_cast<std::uint32_t>(random()) & mxcsr_changeable);
    made.has_avx = avx ? 1 : 0;
    made.x87.control = x87_masks | (static_cast<std::uint32_t>(random()) & x87_rounding);
    made.x87.status = static_cast<std::uint32_t>(random()) & x87_conditions;
    randomize(random, made.x87.registers);
    return made;
}

// rax is what the function returns; everything else must come back as it went in.
bool same_registers(const Registers &before, const Registers &after) {
    return std::memcmp(&before.general[1], &after.general[1], sizeof before.general - sizeof before.general[0]) == 0 &&
           std::memcmp(before.vector, after.vector, sizeof before.vector) == 0 &&
           ((before.flags ^ after.flags) & status_flags) == 0 && before.mxcsr == after.mxcsr &&
           ((before.x87.control ^ after.x87.control) & 0xFFFF) == 0 && ((before.x87.status ^ after.x87.status) & 0xFFFF) == 0 &&
           std::memcmp(before.x87.registers, after.x87.registers, sizeof before.x87.registers) == 0;
}

// One call with random contents in every register; the answer, or nothing good when a register came back different.
int answer_with_random_registers(std::mt19937_64 &random, void (*function)()) {
    const auto before = random_registers(random);
    Registers after{};
    after.has_avx = before.has_avx;
    call_with_registers(function, &before, &after);
    return same_registers(before, after) ? static_cast<int>(after.general[0]) : -1;
}

// The number of differences.
int register_differences(int rounds) {
    std::mt19937_64 random(20260101);
    int differences = 0;
    for (int round = 0; round < rounds; ++round) {
        differences += known(answer_with_random_registers(random, find<void (*)()>("register_probe")), 1) ? 0 : 1;
    }
    return differences;
}

std::atomic<long> old_answers{0}, new_answers{0};
void call_with_registers_for_ever(unsigned seed) {
    std::mt19937_64 random(seed);
    const auto function = find<void (*)()>("register_probe");
    while (calling) {
        const int answer = answer_with_random_registers(random, function);
        (answer == 1 ? old_answers : answer == 2 ? new_answers : bad) += 1;
        ++calls;
    }
}

// Leaves nobody but this program the right to look into it.
std::string deny_others() {
    std::uint8_t sid[SECURITY_MAX_SID_SIZE], acl[256];
    DWORD size = sizeof sid;
    SECURITY_DESCRIPTOR descriptor{};
    const bool done = CreateWellKnownSid(WinWorldSid, nullptr, sid, &size) &&
                      InitializeAcl(reinterpret_cast<ACL *>(acl), sizeof acl, ACL_REVISION) &&
                      AddAccessAllowedAce(reinterpret_cast<ACL *>(acl), ACL_REVISION,
                                          PROCESS_QUERY_LIMITED_INFORMATION | SYNCHRONIZE | PROCESS_TERMINATE, sid) &&
                      InitializeSecurityDescriptor(&descriptor, SECURITY_DESCRIPTOR_REVISION) &&
                      SetSecurityDescriptorDacl(&descriptor, TRUE, reinterpret_cast<ACL *>(acl), FALSE) &&
                      SetKernelObjectSecurity(GetCurrentProcess(), DACL_SECURITY_INFORMATION, &descriptor);
    return done ? "denied" : "error " + std::to_string(GetLastError());
}

// Takes every free block within reach of the module; how many.
std::string reserve_around(std::uint64_t module) {
    constexpr std::uint64_t reach = 0x80000000, unit = 0x10000;
    for (std::uint64_t address = module > reach ? module - reach : unit; address < module + reach;) {
        MEMORY_BASIC_INFORMATION info{};
        if (VirtualQuery(reinterpret_cast<void *>(address), &info, sizeof info) == 0) {
            break;
        }
        const auto end = reinterpret_cast<std::uint64_t>(info.BaseAddress) + info.RegionSize;
        const auto first = (address + unit - 1) / unit * unit, last = std::min(end, module + reach) / unit * unit;
        if (info.State == MEM_FREE && last > first) {
            if (void *block = VirtualAlloc(reinterpret_cast<void *>(first), last - first, MEM_RESERVE, PAGE_NOACCESS)) {
                reserved.push_back(block);
            }
        }
        address = end;
    }
    return std::to_string(reserved.size());
}

std::string free_reserved() {
    for (void *block : reserved) {
        VirtualFree(block, 0, MEM_RELEASE);
    }
    return std::to_string(std::exchange(reserved, {}).size());
}

// Forbids this process dynamic code; what Windows (or Wine) then answers when it is asked.
std::string forbid_dynamic_code() {
    PROCESS_MITIGATION_DYNAMIC_CODE_POLICY policy{};
    policy.ProhibitDynamicCode = 1;
    const bool set = SetProcessMitigationPolicy(ProcessDynamicCodePolicy, &policy, sizeof policy);
    policy = {};
    const bool got = GetProcessMitigationPolicy(GetCurrentProcess(), ProcessDynamicCodePolicy, &policy, sizeof policy);
    return std::string(set ? "set" : "refused") + " " + (got && policy.ProhibitDynamicCode ? "forbidden" : "unknown");
}

std::string hex_of(const std::uint8_t *bytes, std::size_t length) {
    static const char digits[] = "0123456789abcdef";
    std::string text;
    for (std::size_t index = 0; index < length; ++index) {
        text += {digits[bytes[index] >> 4], digits[bytes[index] & 15]};
    }
    return text;
}

// Someone else's bytes at the start of a function: its name and the bytes in hex.
std::string write_over(const std::string &argument) {
    std::istringstream words(argument);
    std::string name, digits;
    words >> name >> digits;
    auto *code = find<std::uint8_t *>(name.c_str());
    DWORD before = 0;
    VirtualProtect(code, digits.size() / 2, PAGE_READWRITE, &before);
    for (std::size_t index = 0; index + 1 < digits.size(); index += 2) {
        code[index / 2] = static_cast<std::uint8_t>(std::stoul(digits.substr(index, 2), nullptr, 16));
    }
    VirtualProtect(code, digits.size() / 2, before, &before);
    return "written";
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
            workers.emplace_back(call_for_ever);
        }
        while (ready < number) {
            Sleep(1);
        }
        SetEvent(begin); // all at once: those that call already would leave the maker of the others little time
        return "calling";
    }
    if (verb == "tls") {
        calling = true;
        for (int index = 0; index < number; ++index) {
            workers.emplace_back(call_with_thread_local, 1000 * (index + 1));
        }
        return "calling";
    }
    if (verb == "random") {
        calling = true;
        for (int index = 0; index < number; ++index) {
            workers.emplace_back(call_with_registers_for_ever, static_cast<unsigned>(GetTickCount() + index));
        }
        return "calling";
    }
    if (verb == "answers") {
        return std::to_string(old_answers) + " " + std::to_string(new_answers);
    }
    if (verb == "deny") {
        return deny_others();
    }
    if (verb == "reserve") {
        return reserve_around(reinterpret_cast<std::uint64_t>(sample));
    }
    if (verb == "free") {
        return free_reserved();
    }
    if (verb == "forbid") {
        return forbid_dynamic_code();
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
    if (verb == "turnover") { // Wine keeps the stack of the thread that ended last until the next one ends
        std::thread([] {}).join();
        return "done";
    }
    if (verb == "count") {
        return std::to_string(calls) + " " + std::to_string(bad);
    }
    if (verb == "poke") { // someone else's jump at the entry
        return write_over(argument + " e900000000");
    }
    if (verb == "base") {
        std::ostringstream text;
        text << "0x" << std::hex << reinterpret_cast<std::uint64_t>(sample);
        return text.str();
    }
    if (verb == "bytes") {
        std::istringstream place(argument);
        std::size_t rva = 0, length = 0;
        place >> rva >> length;
        return hex_of(reinterpret_cast<const std::uint8_t *>(sample) + rva, length);
    }
    if (verb == "write") {
        return write_over(argument);
    }
    if (verb == "protection") {
        MEMORY_BASIC_INFORMATION info{};
        VirtualQuery(find<void *>(argument.c_str()), &info, sizeof info);
        return std::to_string(info.Protect);
    }
    if (verb == "usage") {
        const DWORD handles = holdings::count_handles();
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
               std::to_string(writable_code) + " " + std::to_string(holdings::count_threads());
    }
    return "unknown command";
}

} // namespace

int main() {
    entered = CreateEventA(nullptr, TRUE, FALSE, nullptr);
    leave = CreateEventA(nullptr, TRUE, FALSE, nullptr);
    begin = CreateEventA(nullptr, TRUE, FALSE, nullptr);
    std::cout << GetCurrentProcessId() << std::endl;
    for (std::string line; std::getline(std::cin, line) && line != "exit";) {
        while (!line.empty() && line.back() == '\r') {
            line.pop_back();
        }
        std::cout << command(line) << std::endl;
    }
    TerminateProcess(GetCurrentProcess(), 0);
}
