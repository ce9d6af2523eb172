// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What other programs do to a process: it suspends and resumes, and it debugs. One command a line, one answer a line.
#include <atomic>
#include <bit>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>

#include <windows.h>

#include <tlhelp32.h>

namespace {

constexpr DWORD quiet_ms = 500; // no debug event for this long: the attachment has settled

std::atomic<bool> detach{false}, settled{false}, attached{false};
std::thread debugger;

using OnProcess = LONG(NTAPI *)(HANDLE);

std::string call_ntdll(const char *name, DWORD pid) {
    const auto call = std::bit_cast<OnProcess>(GetProcAddress(GetModuleHandleA("ntdll.dll"), name));
    const HANDLE process = OpenProcess(PROCESS_SUSPEND_RESUME, FALSE, pid);
    const auto status = process == nullptr ? -1 : call(process);
    CloseHandle(process);
    return std::to_string(status);
}

// The thread's suspend count, which only a suspension tells everywhere.
DWORD count_of(DWORD tid) {
    const HANDLE thread = OpenThread(THREAD_SUSPEND_RESUME, FALSE, tid);
    const DWORD before = SuspendThread(thread);
    ResumeThread(thread);
    CloseHandle(thread);
    return before;
}

// "thread:count" of every thread, in the order in which they were made.
std::string counts(DWORD pid) {
    const HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    THREADENTRY32 entry{};
    entry.dwSize = sizeof entry;
    std::string line;
    for (BOOL more = Thread32First(snapshot, &entry); more; more = Thread32Next(snapshot, &entry)) {
        if (entry.th32OwnerProcessID == pid) {
            line += (line.empty() ? "" : " ") + std::to_string(entry.th32ThreadID) + ":" +
                    std::to_string(count_of(entry.th32ThreadID));
        }
    }
    CloseHandle(snapshot);
    return line;
}

std::string change_thread(DWORD tid, bool suspend) {
    const HANDLE thread = OpenThread(THREAD_SUSPEND_RESUME, FALSE, tid);
    const DWORD before = suspend ? SuspendThread(thread) : ResumeThread(thread);
    CloseHandle(thread);
    return std::to_string(before);
}

void debug(DWORD pid) {
    attached = DebugActiveProcess(pid) != FALSE;
    DebugSetProcessKillOnExit(FALSE);
    while (attached && !detach) {
        DEBUG_EVENT event{};
        if (!WaitForDebugEvent(&event, quiet_ms)) {
            settled = true;
            continue;
        }
        const bool exception = event.dwDebugEventCode == EXCEPTION_DEBUG_EVENT &&
                               event.u.Exception.ExceptionRecord.ExceptionCode != static_cast<DWORD>(EXCEPTION_BREAKPOINT);
        ContinueDebugEvent(event.dwProcessId, event.dwThreadId, exception ? DBG_EXCEPTION_NOT_HANDLED : DBG_CONTINUE);
    }
    settled = true;
    DebugActiveProcessStop(pid);
}

std::string attach(DWORD pid) {
    debugger = std::thread(debug, pid);
    while (!settled) {
        Sleep(10);
    }
    return attached ? "attached" : "refused";
}

std::string command(const std::string &line) {
    std::istringstream words(line);
    std::string verb;
    DWORD id = 0;
    words >> verb >> id;
    if (verb == "suspend") {
        return call_ntdll("NtSuspendProcess", id);
    }
    if (verb == "resume") {
        return call_ntdll("NtResumeProcess", id);
    }
    if (verb == "suspend-thread" || verb == "resume-thread") {
        return change_thread(id, verb == "suspend-thread");
    }
    if (verb == "counts") {
        return counts(id);
    }
    if (verb == "attach") {
        return attach(id);
    }
    if (verb == "detach") {
        detach = true;
        debugger.join();
        return "detached";
    }
    return "unknown command";
}

} // namespace

int main() {
    std::cout << GetCurrentProcessId() << std::endl;
    for (std::string line; std::getline(std::cin, line) && line != "exit";) {
        std::cout << command(line) << std::endl;
    }
    TerminateProcess(GetCurrentProcess(), 0);
}
