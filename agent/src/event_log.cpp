// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "event_log.hpp"

#include <windows.h>

#include "events.h"
#include "handle.hpp"
#include "text.hpp"

namespace hotpatch {

namespace {

constexpr std::size_t longest_text = 30'000; // Windows takes 31,839 characters in one string

// The type is in the two highest bits of the id, as the message compiler puts it there.
WORD type_of(std::uint32_t event_id) {
    switch (event_id >> 30U) {
    case STATUS_SEVERITY_ERROR:
        return EVENTLOG_ERROR_TYPE;
    case STATUS_SEVERITY_WARNING:
        return EVENTLOG_WARNING_TYPE;
    default:
        return EVENTLOG_INFORMATION_TYPE;
    }
}

} // namespace

void log_event(std::uint32_t event_id, const std::string &text) {
    const unique_event_source source(RegisterEventSourceW(nullptr, L"hotpatch-agent"));
    const std::wstring wide = to_wide(text).substr(0, longest_text);
    const wchar_t *strings[] = {wide.c_str()};
    if (source) {
        ReportEventW(source.get(), type_of(event_id), 0, event_id, nullptr, 1, 0, strings, nullptr);
    }
}

std::uint32_t event_of(Code code) {
    switch (code) {
    case Code::site_changed:
        return EVENT_SITE_CHANGED;
    case Code::late_apply_failed:
        return EVENT_LATE_APPLY_FAILED;
    case Code::journal_disagrees:
    case Code::journal_damaged:
        return EVENT_JOURNAL_DISAGREES;
    case Code::payload_expired:
        return EVENT_PAYLOAD_EXPIRED;
    case Code::payload_revoked:
    case Code::payload_key_revoked:
        return EVENT_PAYLOAD_REVOKED;
    default:
        return EVENT_ALERT;
    }
}

} // namespace hotpatch
