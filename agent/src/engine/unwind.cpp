// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/unwind.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <optional>

#include "engine/faults.hpp"
#include "engine/nt.hpp"
#include "engine/region.hpp"
#include "engine/threads.hpp"
#include "text.hpp"

namespace hotpatch::engine {

namespace {

// The call needs microseconds; a second is for a host whose processors are all taken. After it the loader or the table's own lock
// is held by somebody who does not let go, and the patch is given up.
constexpr DWORD thread_wait_ms = 2000;

// sub rsp,28h; mov rcx,table; mov edx,count; mov r8,base; mov rax,function; call rax; add rsp,28h; movzx eax,al; ret
class Stub {
public:
    Stub(std::uint64_t function, std::uint64_t table, std::uint32_t count, std::uint64_t base) {
        put({0x48, 0x83, 0xEC, 0x28, 0x48, 0xB9});
        put_value(table);
        put({0xBA});
        put_value(count);
        put({0x49, 0xB8});
        put_value(base);
        put({0x48, 0xB8});
        put_value(function);
        put({0xFF, 0xD0, 0x48, 0x83, 0xC4, 0x28, 0x0F, 0xB6, 0xC0, 0xC3});
    }
    [[nodiscard]] const Bytes &bytes() const { return bytes_; }

private:
    void put(std::initializer_list<std::uint8_t> code) { bytes_.insert(bytes_.end(), code); }
    template <typename T> void put_value(T value) {
        const auto *raw = reinterpret_cast<const std::uint8_t *>(&value);
        bytes_.insert(bytes_.end(), raw, raw + sizeof value);
    }
    Bytes bytes_;
};

// A page of code that lives as long as the call. It is apart from the region because its start must be a valid call target in a
// process with CFG (BaseThreadInitThunk checks the start address); as memory of its own it is gone again at once.
class StubPage {
public:
    static std::optional<StubPage> make(HANDLE process, const Bytes &code) {
        StubPage page(process, VirtualAllocEx(process, nullptr, page_size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE));
        const auto begin = reinterpret_cast<std::uint64_t>(page.memory_);
        if (page.memory_ == nullptr || !write_memory(process, begin, code) ||
            !protect_memory(process, {begin, begin + page_size}, PAGE_EXECUTE_READ)) {
            return std::nullopt;
        }
        FlushInstructionCache(process, page.memory_, page_size);
        return page;
    }
    StubPage(StubPage &&other) noexcept : process_(other.process_), memory_(std::exchange(other.memory_, nullptr)) {}
    StubPage &operator=(StubPage &&) = delete;
    StubPage(const StubPage &) = delete;
    StubPage &operator=(const StubPage &) = delete;
    ~StubPage() {
        if (memory_ != nullptr) {
            VirtualFreeEx(process_, memory_, 0, MEM_RELEASE);
        }
    }
    [[nodiscard]] void *start() const { return memory_; }
    void keep() { memory_ = nullptr; } // a thread may still run in it: better a lost page than a crash

private:
    StubPage(HANDLE process, void *memory) : process_(process), memory_(memory) {}
    HANDLE process_;
    void *memory_;
};

Status call_in_target(const Process &process, const Bytes &code, const char *what) {
    const auto failed = [&](Code reason, std::uint32_t error) {
        return Error{process.exited() ? Code::target_exited : reason, what, "process " + std::to_string(process.id.pid), error};
    };
    auto page = StubPage::make(process.handle.get(), code);
    if (!page) {
        return failed(Code::target_write_failed, GetLastError());
    }
    HANDLE raw = nullptr;
    const ULONG flags = nt::skip_thread_attach | (test_setting("HOTPATCH_THREAD_HANGS") != nullptr ? nt::create_suspended : 0);
    const NTSTATUS status = nt::calls().create_thread(&raw, THREAD_ALL_ACCESS, nullptr, process.handle.get(), page->start(),
                                                      nullptr, flags, 0, 0, 0, nullptr);
    const unique_handle thread(raw);
    hold_point("calling");
    if (status < 0) {
        return failed(Code::target_write_failed, static_cast<std::uint32_t>(status));
    }
    if (WaitForSingleObject(thread.get(), thread_wait_ms) != WAIT_OBJECT_0) {
        page->keep();
        return failed(Code::target_busy, ERROR_TIMEOUT);
    }
    DWORD result = 0;
    if (!GetExitCodeThread(thread.get(), &result) || result != TRUE) {
        return failed(Code::target_write_failed, result);
    }
    return Unit{};
}

// ntdll lies at one address in every process of a boot.
std::uint64_t ntdll_function(const char *name) {
    return reinterpret_cast<std::uint64_t>(GetProcAddress(GetModuleHandleW(L"ntdll.dll"), name));
}

Stub registration_of(const Patch &patch) {
    return {ntdll_function("RtlAddFunctionTable"), unwind_table_of(patch), patch.unwind_entries, patch.region};
}

// Whether a thread of the process is on its way through the registration: its code names this very table.
bool is_being_registered(HANDLE process, const Patch &patch) {
    const auto expected = registration_of(patch).bytes();
    bool found = false;
    each_thread(process, THREAD_QUERY_INFORMATION | SYNCHRONIZE, [&](HANDLE thread) {
        std::uint64_t start = 0;
        Bytes code(expected.size());
        found = WaitForSingleObject(thread, 0) != WAIT_OBJECT_0 &&
                nt::calls().query_thread(thread, nt::thread_start_address, &start, sizeof start, nullptr) >= 0 &&
                read_memory(process, start, code) && code == expected;
        return !found;
    });
    return found;
}

} // namespace

Status register_unwind(const Process &process, const Patch &patch) {
    if (patch.unwind_entries == 0) {
        return Unit{};
    }
    return call_in_target(process, registration_of(patch).bytes(), "the unwind data could not be registered");
}

Status unregister_unwind(const Process &process, const Patch &patch) {
    if (patch.unwind_entries == 0) {
        return Unit{};
    }
    if (is_being_registered(process.handle.get(), patch)) {
        return Error{Code::target_busy, "the unwind data is still being registered", "process " + std::to_string(process.id.pid),
                     0};
    }
    const Stub stub(ntdll_function("RtlDeleteFunctionTable"), unwind_table_of(patch), 0, 0);
    return call_in_target(process, stub.bytes(), "the unwind data could not be removed");
}

} // namespace hotpatch::engine
