// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The service "hotpatch-agent" as the service control manager knows it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "result.hpp"

namespace hotpatch {

inline constexpr const wchar_t *service_name = L"hotpatch-agent";

struct ServiceInfo {
    std::uint32_t state = 0; // SERVICE_RUNNING, …
    std::uint32_t pid = 0;
    std::wstring path; // of its program, without quotes and arguments
};

// Nothing when the service is not installed.
[[nodiscard]] Result<std::optional<ServiceInfo>> query_service();
// "absent", "stopped", "start_pending", "stop_pending", "running", "other"
[[nodiscard]] std::string state_name(const std::optional<ServiceInfo> &service);

// Creates the service or brings an existing one to this program and to the settings below: LocalSystem, automatic start,
// restarted when it ends unexpectedly, source of events registered.
[[nodiscard]] Status configure_service(const std::wstring &program);
// Both wait until it is so, at most a minute.
[[nodiscard]] Status start_service();
[[nodiscard]] Status stop_service();
[[nodiscard]] Status remove_service();

} // namespace hotpatch
