// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Pulling a file by WinHTTP. The hash is what makes the file trusted; the transport need not be.
#include <algorithm>
#include <vector>

#include <windows.h>

#include <winhttp.h>

#include "handle.hpp"
#include "store.hpp"
#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

// A cumulative update of 2026 has up to 4 GiB; without an announced size nothing larger than this is taken.
constexpr std::uint64_t largest_fetch = std::uint64_t{16} << 30U;
constexpr int resolve_timeout_ms = 15'000;
constexpr int connect_timeout_ms = 15'000;
constexpr int send_timeout_ms = 30'000;
constexpr int receive_timeout_ms = 60'000; // for one read, not for the whole file

struct Address {
    std::wstring host;
    std::wstring path;
    INTERNET_PORT port = 0;
    bool secure = false;
};

Error fetch_error(std::string what, const std::string &url) {
    const DWORD number = GetLastError();
    return Error{Code::store_fetch_failed, std::move(what) + " (WinHTTP error " + std::to_string(number) + ")", url, number};
}

Result<Address> split(const std::string &url) {
    const std::wstring wide = to_wide(url);
    URL_COMPONENTS parts{};
    parts.dwStructSize = sizeof parts;
    parts.dwSchemeLength = parts.dwHostNameLength = parts.dwUrlPathLength = parts.dwExtraInfoLength = parts.dwUserNameLength =
        static_cast<DWORD>(-1);
    if (WinHttpCrackUrl(wide.c_str(), static_cast<DWORD>(wide.size()), 0, &parts) == FALSE || parts.dwHostNameLength == 0) {
        return Error{Code::argument_invalid, "'url' is not an http or https URL", "arguments.url", 0};
    }
    if (parts.dwUserNameLength != 0) {
        return Error{Code::argument_invalid, "'url' holds a user name", "arguments.url", 0};
    }
    Address address;
    address.host.assign(parts.lpszHostName, parts.dwHostNameLength);
    address.path.assign(parts.lpszUrlPath, parts.dwUrlPathLength);
    address.path.append(parts.lpszExtraInfo, parts.dwExtraInfoLength);
    address.port = parts.nPort;
    address.secure = parts.nScheme == INTERNET_SCHEME_HTTPS;
    return address;
}

std::optional<std::uint64_t> content_length(HINTERNET request) {
    wchar_t text[32]{};
    DWORD size = sizeof text;
    if (WinHttpQueryHeaders(request, WINHTTP_QUERY_CONTENT_LENGTH, WINHTTP_HEADER_NAME_BY_INDEX, text, &size,
                            WINHTTP_NO_HEADER_INDEX) == FALSE) {
        return std::nullopt;
    }
    wchar_t *end = nullptr;
    const std::uint64_t value = std::wcstoull(text, &end, 10);
    return end != text && *end == L'\0' ? std::optional(value) : std::nullopt;
}

Status check_answer(HINTERNET request, const std::string &url, std::optional<std::uint64_t> size) {
    DWORD code = 0;
    DWORD length = sizeof code;
    if (WinHttpQueryHeaders(request, WINHTTP_QUERY_STATUS_CODE | WINHTTP_QUERY_FLAG_NUMBER, WINHTTP_HEADER_NAME_BY_INDEX, &code,
                            &length, WINHTTP_NO_HEADER_INDEX) == FALSE) {
        return fetch_error("The answer has no status", url);
    }
    if (code != HTTP_STATUS_OK) {
        return Error{Code::store_fetch_failed, "The server answered with status " + std::to_string(code), url, 0};
    }
    const auto announced = content_length(request);
    if (announced && size && *announced != *size) {
        return Error{Code::store_hash_mismatch,
                     "The server's file has " + std::to_string(*announced) + " bytes, expected were " + std::to_string(*size),
                     url, 0};
    }
    return Unit{};
}

Result<StoredObject> receive(const Paths &paths, HINTERNET request, const std::string &url, const Sha256 &expected,
                             std::optional<std::uint64_t> size) {
    auto writer = StoreWriter::begin(paths, expected, size ? size : content_length(request));
    if (!writer) {
        return writer.error();
    }
    std::vector<std::uint8_t> buffer(std::size_t{1} << 18U);
    std::uint64_t total = 0;
    for (;;) {
        DWORD have = 0;
        if (WinHttpReadData(request, buffer.data(), static_cast<DWORD>(buffer.size()), &have) == FALSE) {
            return fetch_error("The transfer broke off after " + std::to_string(total) + " bytes", url);
        }
        if (have == 0) {
            return writer.value().commit();
        }
        total += have;
        if (total > largest_fetch) {
            return Error{Code::store_fetch_failed, "The file is larger than 16 GiB", url, 0};
        }
        if (const auto status = writer.value().write(std::span(buffer).first(have)); !status) {
            return status.error();
        }
    }
}

} // namespace

Result<StoredObject> fetch_into_store(const Paths &paths, const std::string &url, const Sha256 &expected,
                                      std::optional<std::uint64_t> size, const std::optional<std::string> &proxy) {
    const auto address = split(url);
    if (!address) {
        return address.error();
    }
    const std::wstring named_proxy = to_wide(proxy.value_or(""));
    const unique_internet session(WinHttpOpen(L"hotpatch-agent",
                                              proxy ? WINHTTP_ACCESS_TYPE_NAMED_PROXY : WINHTTP_ACCESS_TYPE_DEFAULT_PROXY,
                                              proxy ? named_proxy.c_str() : WINHTTP_NO_PROXY_NAME, WINHTTP_NO_PROXY_BYPASS, 0));
    if (!session ||
        WinHttpSetTimeouts(session.get(), resolve_timeout_ms, connect_timeout_ms, send_timeout_ms, receive_timeout_ms) == FALSE) {
        return fetch_error("WinHTTP cannot be used", url);
    }
    const unique_internet connection(WinHttpConnect(session.get(), address.value().host.c_str(), address.value().port, 0));
    if (!connection) {
        return fetch_error("The server cannot be reached", url);
    }
    // WinHTTP's own default follows redirections, but not from https to http.
    const unique_internet request(WinHttpOpenRequest(connection.get(), L"GET", address.value().path.c_str(), nullptr,
                                                     WINHTTP_NO_REFERER, WINHTTP_DEFAULT_ACCEPT_TYPES,
                                                     address.value().secure ? WINHTTP_FLAG_SECURE : 0));
    if (!request ||
        WinHttpSendRequest(request.get(), WINHTTP_NO_ADDITIONAL_HEADERS, 0, WINHTTP_NO_REQUEST_DATA, 0, 0, 0) == FALSE ||
        WinHttpReceiveResponse(request.get(), nullptr) == FALSE) {
        return fetch_error("The server cannot be reached", url);
    }
    if (const auto status = check_answer(request.get(), url, size); !status) {
        return status.error();
    }
    return receive(paths, request.get(), url, expected, size);
}

} // namespace hotpatch
