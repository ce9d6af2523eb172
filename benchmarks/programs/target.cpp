// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The process that the benchmarks patch. It loads the module that its argument names, and does what it is told: one command a
// line, one answer a line. It ends with its standard input.
#include <atomic>
#include <cstdint>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <windows.h>

using Answer = int (*)(int);

// The same code as answer() of the module, behind no, one and two jumps: what a redirection costs at least. The jumps are those
// of a redirection: `near` leads out of the function with five bytes, `short` goes back into the padding first.
extern "C" int answer_direct(int value);
extern "C" int answer_one_jump(int value);
extern "C" int answer_two_jumps(int value);
__asm__(R"(
    .text
    .p2align 4
    .globl answer_direct
answer_direct:
    leal (%rcx,%rcx,2), %eax
    xorl $1, %eax
    ret
    .p2align 4
    .globl answer_one_jump
answer_one_jump:
    .byte 0xe9
    .long body_one - . - 4
    .p2align 4
padding_two:
    .byte 0xe9
    .long body_two - . - 4
    .globl answer_two_jumps
answer_two_jumps:
    jmp padding_two
    .p2align 12
body_one:
    leal (%rcx,%rcx,2), %eax
    xorl $1, %eax
    ret
    .p2align 4
body_two:
    leal (%rcx,%rcx,2), %eax
    xorl $1, %eax
    ret
)");

namespace {

HMODULE patched = nullptr;
std::atomic<bool> working{true};
std::vector<std::thread> workers;

Answer find(const std::string &name) {
    if (name == "direct") {
        return answer_direct;
    }
    if (name == "one_jump") {
        return answer_one_jump;
    }
    if (name == "two_jumps") {
        return answer_two_jumps;
    }
    return reinterpret_cast<Answer>(reinterpret_cast<void *>(GetProcAddress(patched, name.c_str())));
}

// A thread of a server: it waits most of the time and calls the patched function when it does not.
void serve(int number) {
    const auto answer = find("answer");
    volatile int seen = 0;
    while (working) {
        for (int index = 0; index < 200; ++index) {
            seen = answer(index);
        }
        Sleep(static_cast<DWORD>(100 + number % 50));
    }
    (void)seen;
}

// Nanoseconds of one call.
double time_calls(Answer function, int calls) {
    LARGE_INTEGER begin{}, end{}, frequency{};
    QueryPerformanceFrequency(&frequency);
    int sum = 0;
    QueryPerformanceCounter(&begin);
    for (int index = 0; index < calls; ++index) {
        sum += function(sum & 1); // each call waits for the one before it
    }
    QueryPerformanceCounter(&end);
    volatile int kept = sum;
    (void)kept;
    return static_cast<double>(end.QuadPart - begin.QuadPart) * 1e9 / static_cast<double>(frequency.QuadPart) / calls;
}

std::string command(const std::string &line) {
    std::istringstream words(line);
    std::string verb, name;
    int number = 0;
    words >> verb;
    if (verb == "threads" && words >> number) {
        for (int index = 0; index < number; ++index) {
            workers.emplace_back(serve, index);
        }
        return "serving";
    }
    if (verb == "time" && words >> name >> number) {
        return std::to_string(time_calls(find(name), number));
    }
    if (verb == "call") {
        return std::to_string(find("answer")(1));
    }
    return "unknown command";
}

} // namespace

int main(int argc, char **argv) {
    patched = argc > 1 ? LoadLibraryA(argv[1]) : nullptr;
    std::cout << (argc > 1 && patched == nullptr ? "no module" : "ready") << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
        while (!line.empty() && line.back() == '\r') {
            line.pop_back();
        }
        std::cout << command(line) << std::endl;
    }
    TerminateProcess(GetCurrentProcess(), 0); // no joining of threads that sleep
}
