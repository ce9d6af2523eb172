// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/guard.hpp"

#include <array>
#include <cwchar>
#include <memory>
#include <string>
#include <vector>

#include "engine.hpp"
#include "engine/faults.hpp"
#include "engine/nt.hpp"

namespace hotpatch::engine {

namespace {

constexpr wchar_t command[] = L"engine-guard";
constexpr DWORD poll_ms = 5; // a tenth of the default stop budget; the guard lives for seconds, so polling costs nothing
constexpr DWORD start_wait_ms = 10000; // a program's start on a host that is busy; 30 ms is usual
constexpr DWORD end_wait_ms = 2000;

unique_handle inheritable(HANDLE handle) {
    HANDLE copy = nullptr;
    DuplicateHandle(GetCurrentProcess(), handle, GetCurrentProcess(), &copy, 0, TRUE, DUPLICATE_SAME_ACCESS);
    return unique_handle(copy);
}

std::wstring own_path() {
    std::wstring path(32768, L'\0');
    path.resize(GetModuleFileNameW(nullptr, path.data(), static_cast<DWORD>(path.size())));
    return path;
}

struct AttributeList {
    explicit AttributeList(std::array<HANDLE, 2> &handles) {
        SIZE_T size = 0;
        InitializeProcThreadAttributeList(nullptr, 1, 0, &size);
        memory.resize(size);
        valid = InitializeProcThreadAttributeList(get(), 1, 0, &size) &&
                UpdateProcThreadAttribute(get(), 0, PROC_THREAD_ATTRIBUTE_HANDLE_LIST, handles.data(), sizeof handles, nullptr,
                                          nullptr);
    }
    [[nodiscard]] LPPROC_THREAD_ATTRIBUTE_LIST get() { return reinterpret_cast<LPPROC_THREAD_ATTRIBUTE_LIST>(memory.data()); }
    std::vector<std::uint8_t> memory;
    bool valid = false;
};

// Starts this program again as the guard. Only the two handles are inherited: a standard stream of the agent's that the guard
// held open would keep a remote shell waiting.
unique_handle spawn(HANDLE file, HANDLE parent, std::uint32_t number) {
    std::array<HANDLE, 2> handles{file, parent};
    AttributeList attributes(handles);
    std::wstring line = L"\"" + own_path() + L"\" " + command + L" " + std::to_wstring(reinterpret_cast<std::uintptr_t>(file)) +
                        L" " + std::to_wstring(reinterpret_cast<std::uintptr_t>(parent)) + L" " + std::to_wstring(number);
    STARTUPINFOEXW startup{};
    startup.StartupInfo.cb = sizeof startup;
    startup.lpAttributeList = attributes.get();
    PROCESS_INFORMATION created{};
    constexpr DWORD flags = EXTENDED_STARTUPINFO_PRESENT | DETACHED_PROCESS;
    // A guard that dies with the agent's job would guard nothing, so it leaves the job where the job lets it.
    if (!attributes.valid || (!CreateProcessW(nullptr, line.data(), nullptr, nullptr, TRUE, flags | CREATE_BREAKAWAY_FROM_JOB,
                                              nullptr, nullptr, &startup.StartupInfo, &created) &&
                              !CreateProcessW(nullptr, line.data(), nullptr, nullptr, TRUE, flags, nullptr, nullptr,
                                              &startup.StartupInfo, &created))) {
        return {};
    }
    const unique_handle thread(created.hThread);
    return unique_handle(created.hProcess);
}

Error cannot_start() {
    return {Code::agent_internal, "the guard of the stop could not be started", "", GetLastError()};
}

void enforce_deadline(StopBlock &block) noexcept {
    auto expected = StopPhase::gathering;
    if (block.phase == StopPhase::gathering && nt::ticks() > block.deadline &&
        block.phase.compare_exchange_strong(expected, StopPhase::aborted)) {
        resume_suspended(reinterpret_cast<HANDLE>(block.process), block);
        block.phase = StopPhase::released;
    }
}

int watch(StopBlock &block, HANDLE parent, std::uint32_t number) noexcept {
    block.ready = true;
    while (block.guard == number) {
        if (WaitForSingleObject(parent, poll_ms) == WAIT_OBJECT_0) {
            if (test_setting("HOTPATCH_GUARD_DIES") == nullptr) {
                undo_stop(reinterpret_cast<HANDLE>(block.process), block);
            }
            return 0;
        }
        enforce_deadline(block);
    }
    return 0;
}

std::uintptr_t number_from(const wchar_t *text) {
    return static_cast<std::uintptr_t>(std::wcstoull(text, nullptr, 10));
}

} // namespace

std::optional<int> run_guard(int argument_count, const wchar_t *const *arguments) {
    if (argument_count != 5 || std::wcscmp(arguments[1], command) != 0) {
        return std::nullopt;
    }
    const unique_handle file(
        reinterpret_cast<HANDLE>(number_from(arguments[2]))); // open until the end: the next engine waits for it
    const unique_handle parent(reinterpret_cast<HANDLE>(number_from(arguments[3])));
    const auto block = map_block(file.get());
    return block ? watch(*block, parent.get(), static_cast<std::uint32_t>(number_from(arguments[4]))) : 2;
}

Guard::~Guard() {
    if (process_) {
        ++block_->guard;                                  // not his any more
        WaitForSingleObject(process_.get(), end_wait_ms); // so that a transient agent's file can be removed
    }
}

Result<Guard> Guard::start(const StopFile &file) {
    const auto inherited = inheritable(file.handle());
    const auto parent = inheritable(GetCurrentProcess());
    if (!inherited || !parent) {
        return cannot_start();
    }
    auto &block = file.block();
    const auto number = ++block.guard;
    block.ready = false;
    block.process = 0; // a handle of the guard before this one
    auto process = spawn(inherited.get(), parent.get(), number);
    if (!process) {
        return cannot_start();
    }
    Guard guard(block, std::move(process));
    for (DWORD waited = 0; !guard.block_->ready; waited += poll_ms) {
        if (waited > start_wait_ms || WaitForSingleObject(guard.process_.get(), poll_ms) == WAIT_OBJECT_0) {
            return cannot_start();
        }
    }
    return guard;
}

bool Guard::watches() const noexcept {
    return WaitForSingleObject(process_.get(), 0) == WAIT_TIMEOUT;
}

Status Guard::attach(HANDLE process) {
    HANDLE copy = nullptr;
    if (!DuplicateHandle(GetCurrentProcess(), process, process_.get(), &copy, 0, FALSE, DUPLICATE_SAME_ACCESS)) {
        return cannot_start();
    }
    const auto previous = reinterpret_cast<HANDLE>(std::exchange(block_->process, reinterpret_cast<std::uint64_t>(copy)));
    if (previous != nullptr) { // closed in the guard, so that a process that ends is not kept
        DuplicateHandle(process_.get(), previous, nullptr, nullptr, 0, FALSE, DUPLICATE_CLOSE_SOURCE);
    }
    return Unit{};
}

Result<GuardPost> GuardPost::open(const std::wstring &path) {
    auto file = StopFile::open(path);
    if (!file.ok()) {
        return file.error();
    }
    return GuardPost(std::move(file.value()));
}

Result<Guard *> GuardPost::guard() {
    if (guard_ && !guard_->watches()) {
        guard_.reset();
    }
    // Twice, for a host that is out of something for a moment: nothing is stopped yet, so there is time.
    for (int attempt = 1; !guard_; ++attempt) {
        auto started = Guard::start(file_);
        if (started.ok()) {
            guard_.emplace(std::move(started.value()));
        } else if (attempt == 2) {
            return started.error();
        }
    }
    return &*guard_;
}

} // namespace hotpatch::engine
