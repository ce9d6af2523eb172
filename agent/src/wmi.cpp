// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "wmi.hpp"

#include <windows.h>

#include <oleauto.h>
#include <wbemidl.h>

#include "handle.hpp"
#include "text.hpp"

namespace hotpatch::wmi {

namespace {

constexpr long wait_ms = 30'000; // for one object; WMI answers in milliseconds or, right after boot, in seconds
constexpr std::size_t most_rows = 10'000;

struct bstr_traits : null_traits<BSTR> {
    static void close(BSTR value) noexcept { SysFreeString(value); }
};
using unique_bstr = unique_resource<bstr_traits>;

template <typename T> struct com_traits : null_traits<T *> {
    static void close(T *value) noexcept { value->Release(); }
};
template <typename T> using com_ptr = unique_resource<com_traits<T>>;

class Apartment {
public:
    Apartment() : result_(CoInitializeEx(nullptr, COINIT_MULTITHREADED)) {}
    Apartment(const Apartment &) = delete;
    Apartment &operator=(const Apartment &) = delete;
    ~Apartment() {
        if (SUCCEEDED(result_)) {
            CoUninitialize();
        }
    }

private:
    HRESULT result_;
};

unique_bstr text(const std::wstring &value) {
    return unique_bstr(SysAllocString(value.c_str()));
}

Error wmi_error(const char *what, HRESULT result) {
    return Error{Code::agent_internal, std::string("WMI: ") + what, {}, static_cast<std::uint32_t>(result)};
}

Value value_of(const VARIANT &variant) {
    switch (variant.vt) {
    case VT_I4:
        return std::int64_t{variant.lVal};
    case VT_UI1:
        return std::int64_t{variant.bVal};
    case VT_I2:
        return std::int64_t{variant.iVal};
    case VT_BOOL:
        return std::int64_t{variant.boolVal != VARIANT_FALSE ? 1 : 0};
    case VT_BSTR:
        return to_utf8(variant.bstrVal != nullptr ? std::wstring_view(variant.bstrVal, SysStringLen(variant.bstrVal))
                                                  : std::wstring_view());
    default:
        return {};
    }
}

Row read_row(IWbemClassObject &object, const std::vector<std::wstring> &properties) {
    Row row;
    for (const std::wstring &name : properties) {
        VARIANT variant;
        VariantInit(&variant);
        row[name] = SUCCEEDED(object.Get(name.c_str(), 0, &variant, nullptr, nullptr)) ? value_of(variant) : Value();
        VariantClear(&variant);
    }
    return row;
}

Result<com_ptr<IWbemServices>> connect(const std::wstring &name_space) {
    com_ptr<IWbemLocator> locator;
    HRESULT result = CoCreateInstance(CLSID_WbemLocator, nullptr, CLSCTX_INPROC_SERVER, IID_IWbemLocator,
                                      reinterpret_cast<void **>(locator.out()));
    if (FAILED(result)) {
        return wmi_error("it cannot be used", result);
    }
    com_ptr<IWbemServices> services;
    result = locator.get()->ConnectServer(text(name_space).get(), nullptr, nullptr, nullptr, WBEM_FLAG_CONNECT_USE_MAX_WAIT,
                                          nullptr, nullptr, services.out());
    if (FAILED(result)) {
        return wmi_error("the namespace cannot be opened", result);
    }
    result = CoSetProxyBlanket(services.get(), RPC_C_AUTHN_WINNT, RPC_C_AUTHZ_NONE, nullptr, RPC_C_AUTHN_LEVEL_CALL,
                               RPC_C_IMP_LEVEL_IMPERSONATE, nullptr, EOAC_NONE);
    if (FAILED(result)) {
        return wmi_error("the connection cannot be secured", result);
    }
    return services;
}

} // namespace

Result<std::vector<Row>> query(const std::wstring &name_space, const std::wstring &query_text,
                               const std::vector<std::wstring> &properties) {
    const Apartment apartment;
    const auto services = connect(name_space);
    if (!services) {
        return services.error();
    }
    com_ptr<IEnumWbemClassObject> objects;
    const HRESULT begun =
        services.value().get()->ExecQuery(text(L"WQL").get(), text(query_text).get(),
                                          WBEM_FLAG_FORWARD_ONLY | WBEM_FLAG_RETURN_IMMEDIATELY, nullptr, objects.out());
    if (FAILED(begun)) {
        return wmi_error("the query was refused", begun);
    }
    std::vector<Row> rows;
    while (rows.size() < most_rows) {
        com_ptr<IWbemClassObject> object;
        ULONG count = 0;
        const HRESULT result = objects.get()->Next(wait_ms, 1, object.out(), &count);
        if (FAILED(result) || result == static_cast<HRESULT>(WBEM_S_TIMEDOUT)) {
            return wmi_error("the query failed", result);
        }
        if (count == 0) {
            break;
        }
        rows.push_back(read_row(*object.get(), properties));
    }
    return rows;
}

} // namespace hotpatch::wmi
