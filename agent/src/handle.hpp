// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Owners of what Windows hands out: one template, one set of traits for each kind of handle.
#pragma once

#include <utility>

#include <windows.h>

#include <bcrypt.h>
#include <winhttp.h>

namespace hotpatch {

template <typename Traits> class unique_resource {
public:
    using value_type = typename Traits::value_type;

    unique_resource() noexcept = default;
    explicit unique_resource(value_type value) noexcept : value_(value) {}
    unique_resource(unique_resource &&other) noexcept : value_(other.release()) {}
    unique_resource &operator=(unique_resource &&other) noexcept {
        if (this != &other) {
            reset(other.release());
        }
        return *this;
    }
    unique_resource(const unique_resource &) = delete;
    unique_resource &operator=(const unique_resource &) = delete;
    ~unique_resource() { reset(); }

    [[nodiscard]] value_type get() const noexcept { return value_; }
    explicit operator bool() const noexcept { return Traits::valid(value_); }
    [[nodiscard]] value_type release() noexcept { return std::exchange(value_, Traits::none()); }
    void reset(value_type value = Traits::none()) noexcept {
        if (Traits::valid(value_)) {
            Traits::close(value_);
        }
        value_ = value;
    }
    // For calls that return the handle through a pointer; what was owned is closed first.
    [[nodiscard]] value_type *out() noexcept {
        reset();
        return &value_;
    }

private:
    value_type value_ = Traits::none();
};

// What most kinds share: null is "none".
template <typename T> struct null_traits {
    using value_type = T;
    static constexpr T none() noexcept { return nullptr; }
    static bool valid(T value) noexcept { return value != nullptr; }
};

struct handle_traits : null_traits<HANDLE> {
    static bool valid(HANDLE value) noexcept { return value != nullptr && value != INVALID_HANDLE_VALUE; }
    static void close(HANDLE value) noexcept { CloseHandle(value); }
};
struct find_traits : null_traits<HANDLE> {
    static bool valid(HANDLE value) noexcept { return value != nullptr && value != INVALID_HANDLE_VALUE; }
    static void close(HANDLE value) noexcept { FindClose(value); }
};
struct local_traits : null_traits<HLOCAL> {
    static void close(HLOCAL value) noexcept { LocalFree(value); }
};
struct key_traits : null_traits<HKEY> {
    static void close(HKEY value) noexcept { RegCloseKey(value); }
};
struct service_traits : null_traits<SC_HANDLE> {
    static void close(SC_HANDLE value) noexcept { CloseServiceHandle(value); }
};
struct event_source_traits : null_traits<HANDLE> {
    static void close(HANDLE value) noexcept { DeregisterEventSource(value); }
};
struct algorithm_traits : null_traits<BCRYPT_ALG_HANDLE> {
    static void close(BCRYPT_ALG_HANDLE value) noexcept { BCryptCloseAlgorithmProvider(value, 0); }
};
struct hash_traits : null_traits<BCRYPT_HASH_HANDLE> {
    static void close(BCRYPT_HASH_HANDLE value) noexcept { BCryptDestroyHash(value); }
};
struct cng_key_traits : null_traits<BCRYPT_KEY_HANDLE> {
    static void close(BCRYPT_KEY_HANDLE value) noexcept { BCryptDestroyKey(value); }
};
struct internet_traits : null_traits<HINTERNET> {
    static void close(HINTERNET value) noexcept { WinHttpCloseHandle(value); }
};

using unique_handle = unique_resource<handle_traits>;
using unique_find = unique_resource<find_traits>;
using unique_local = unique_resource<local_traits>;
using unique_key = unique_resource<key_traits>;
using unique_service = unique_resource<service_traits>;
using unique_event_source = unique_resource<event_source_traits>;
using unique_algorithm = unique_resource<algorithm_traits>;
using unique_hash = unique_resource<hash_traits>;
using unique_cng_key = unique_resource<cng_key_traits>;
using unique_internet = unique_resource<internet_traits>;

} // namespace hotpatch
