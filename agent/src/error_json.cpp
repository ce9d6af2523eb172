// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "error_json.hpp"

namespace hotpatch {

Json error_json(const Error &error) {
    Json details = Json::object();
    if (error.win32 != 0) {
        details["win32"] = error.win32;
    }
    return error_json(error, std::move(details));
}

Json error_json(const Error &error, Json details) {
    const ErrorRow &row = row_of(error.code);
    return Json::object({{"code", row.code},
                         {"message", error.message.empty() ? std::string(row.text) : error.message},
                         {"where", error.where},
                         {"remedy", row.remedy},
                         {"details", std::move(details)}});
}

Error error_of_json(const Json &json) {
    const auto text = [&](const char *key) {
        return json.is_object() && json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : std::string();
    };
    Error error{code_of(text("code")).value_or(Code::agent_internal), text("message"), text("where"), 0};
    const auto details = json.is_object() ? json.find("details") : json.end();
    if (details != json.end() && details->is_object() && details->contains("win32") && (*details)["win32"].is_number_unsigned()) {
        error.win32 = (*details)["win32"].get<std::uint32_t>();
    }
    return error;
}

} // namespace hotpatch
