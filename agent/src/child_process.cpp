// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "child_process.hpp"

#include <array>
#include <vector>

#include <windows.h>

#include "handle.hpp"
#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

std::wstring command_line(const std::wstring &program, const std::wstring &arguments) {
    return L"\"" + program + L"\" " + arguments;
}

std::uint64_t creation_time(HANDLE process) {
    FILETIME created{};
    FILETIME ignored{};
    if (GetProcessTimes(process, &created, &ignored, &ignored, &ignored) == FALSE) {
        return 0;
    }
    return (static_cast<std::uint64_t>(created.dwHighDateTime) << 32U) | created.dwLowDateTime;
}

// The list of handles a child may inherit; without it a child would get every inheritable handle of a service that serves others.
class InheritList {
public:
    explicit InheritList(std::vector<HANDLE> handles) : handles_(std::move(handles)) {
        SIZE_T size = 0;
        InitializeProcThreadAttributeList(nullptr, 1, 0, &size);
        buffer_.resize(size);
        valid_ = InitializeProcThreadAttributeList(get(), 1, 0, &size) != FALSE &&
                 UpdateProcThreadAttribute(get(), 0, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, handles_.data(),
                                           handles_.size() * sizeof(HANDLE), nullptr, nullptr) != FALSE;
    }
    InheritList(const InheritList &) = delete;
    InheritList &operator=(const InheritList &) = delete;
    ~InheritList() { DeleteProcThreadAttributeList(get()); }
    [[nodiscard]] LPPROC_THREAD_ATTRIBUTE_LIST get() { return reinterpret_cast<LPPROC_THREAD_ATTRIBUTE_LIST>(buffer_.data()); }
    explicit operator bool() const { return valid_; }

private:
    std::vector<HANDLE> handles_;
    std::vector<std::uint8_t> buffer_;
    bool valid_ = false;
};

struct Pipe {
    unique_handle read;
    unique_handle write; // inheritable
};

Result<Pipe> make_pipe() {
    SECURITY_ATTRIBUTES inheritable{sizeof inheritable, nullptr, TRUE};
    Pipe pipe;
    if (CreatePipe(pipe.read.out(), pipe.write.out(), &inheritable, 0) == FALSE ||
        SetHandleInformation(pipe.read.get(), HANDLE_FLAG_INHERIT, 0) == FALSE) {
        return last_error(Code::agent_internal, "A pipe cannot be made", {});
    }
    return pipe;
}

Result<unique_handle> start_with_output(const std::wstring &program, const std::wstring &arguments, const Pipe &pipe) {
    SECURITY_ATTRIBUTES inheritable{sizeof inheritable, nullptr, TRUE};
    const unique_handle nothing(
        CreateFileW(L"NUL", GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE, &inheritable, OPEN_EXISTING, 0, nullptr));
    InheritList inherited({nothing.get(), pipe.write.get()});
    if (!nothing || !inherited) {
        return last_error(Code::agent_internal, "A program cannot be started", to_utf8(program));
    }
    STARTUPINFOEXW startup{};
    startup.StartupInfo.cb = sizeof startup;
    startup.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
    startup.StartupInfo.hStdInput = nothing.get();
    startup.StartupInfo.hStdOutput = pipe.write.get();
    startup.StartupInfo.hStdError = pipe.write.get();
    startup.lpAttributeList = inherited.get();
    PROCESS_INFORMATION process{};
    std::wstring line = command_line(program, arguments);
    if (CreateProcessW(program.c_str(), line.data(), nullptr, nullptr, TRUE, CREATE_NO_WINDOW | EXTENDED_STARTUPINFO_PRESENT,
                       nullptr, nullptr, &startup.StartupInfo, &process) == FALSE) {
        return last_error(Code::agent_internal, "A program cannot be started", to_utf8(program));
    }
    const unique_handle thread(process.hThread);
    return unique_handle(process.hProcess);
}

// What is in the pipe now, without waiting for more.
void drain(HANDLE pipe, const std::function<void(std::string_view)> &output) {
    std::array<char, 4096> buffer{};
    DWORD available = 0;
    DWORD have = 0;
    while (PeekNamedPipe(pipe, nullptr, 0, nullptr, &available, nullptr) != FALSE && available > 0 &&
           ReadFile(pipe, buffer.data(), static_cast<DWORD>(buffer.size()), &have, nullptr) != FALSE && have > 0) {
        output({buffer.data(), have});
    }
}

} // namespace

Result<std::uint32_t> run_program(const std::wstring &program, const std::wstring &arguments, std::uint32_t limit_ms,
                                  const std::function<void(std::string_view)> &output) {
    auto pipe = make_pipe();
    if (!pipe) {
        return pipe.error();
    }
    const auto process = start_with_output(program, arguments, pipe.value());
    if (!process) {
        return process.error();
    }
    pipe.value().write.reset();
    // The end of the pipe says nothing about the end of the program: a grandchild may hold it open. So the program is what is
    // waited for.
    constexpr DWORD pause_ms = 50;
    const ULONGLONG begun = GetTickCount64();
    while (WaitForSingleObject(process.value().get(), pause_ms) == WAIT_TIMEOUT) {
        drain(pipe.value().read.get(), output);
        if (GetTickCount64() - begun > limit_ms) {
            TerminateProcess(process.value().get(), ERROR_TIMEOUT);
            return windows_error(Code::agent_internal, "A program did not end in time", to_utf8(program), ERROR_TIMEOUT);
        }
    }
    drain(pipe.value().read.get(), output);
    DWORD code = 0;
    if (GetExitCodeProcess(process.value().get(), &code) == FALSE) {
        return last_error(Code::agent_internal, "A program's exit code cannot be read", to_utf8(program));
    }
    return static_cast<std::uint32_t>(code);
}

Status start_detached(const std::wstring &program, const std::wstring &arguments,
                      const std::function<Status(const ProcessIdentity &)> &prepared) {
    constexpr DWORD flags = CREATE_SUSPENDED | DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP;
    STARTUPINFOW startup{};
    startup.cb = sizeof startup;
    PROCESS_INFORMATION information{};
    std::wstring line = command_line(program, arguments);
    // A job object may forbid breaking away; then the program at least runs, and says job_interrupted if the job ends it.
    if (CreateProcessW(program.c_str(), line.data(), nullptr, nullptr, FALSE, flags | CREATE_BREAKAWAY_FROM_JOB, nullptr, nullptr,
                       &startup, &information) == FALSE &&
        (GetLastError() != ERROR_ACCESS_DENIED || CreateProcessW(program.c_str(), line.data(), nullptr, nullptr, FALSE, flags,
                                                                 nullptr, nullptr, &startup, &information) == FALSE)) {
        return last_error(Code::agent_internal, "A program cannot be started", to_utf8(program));
    }
    const unique_handle process(information.hProcess);
    const unique_handle thread(information.hThread);
    if (auto status = prepared({information.dwProcessId, creation_time(process.get())}); !status) {
        TerminateProcess(process.get(), ERROR_CANCELLED);
        return status;
    }
    ResumeThread(thread.get());
    return Unit{};
}

ProcessIdentity own_identity() {
    return {GetCurrentProcessId(), creation_time(GetCurrentProcess())};
}

bool is_running(const ProcessIdentity &wanted) {
    const unique_handle process(OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION | SYNCHRONIZE, FALSE, wanted.pid));
    return process && creation_time(process.get()) == wanted.created && WaitForSingleObject(process.get(), 0) == WAIT_TIMEOUT;
}

} // namespace hotpatch
