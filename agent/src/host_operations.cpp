// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "host_operations.hpp"

#include <algorithm>
#include <array>

#include "boot.hpp"
#include "enrollment.hpp"
#include "error_json.hpp"
#include "host_facts.hpp"
#include "jobs.hpp"
#include "payload_operations.hpp"
#include "platform.hpp"
#include "service_control.hpp"
#include "text.hpp"
#include "win32.hpp"

namespace hotpatch {

namespace {

constexpr std::uint64_t longest_reboot_delay_s = 24 * 60 * 60;

Result<Json> vbs_section() {
    const auto vbs = platform::vbs_status();
    return Json::object({{"status", vbs.status}, {"source", vbs.source}});
}

Result<Json> boot_section() {
    const auto boot = current_boot();
    return boot ? Result<Json>(Json::object({{"id", boot.value().id}, {"started", boot.value().started}}))
                : Result<Json>(boot.error());
}

Result<Json> agent_section(Call &call) {
    const auto service = query_service();
    if (!service) {
        return service.error();
    }
    const auto &info = service.value();
    return Json::object({{"mode", call.context().mode() == Mode::resident ? "resident" : "transient"},
                         {"service", state_name(info)},
                         {"path", to_utf8(info ? info->path : own_path())},
                         {"store_bytes", call.context().store().total_bytes()},
                         {"free_bytes", free_bytes(call.paths())}});
}

Json alerts_section(Call &call) {
    Json list = Json::array();
    for (const auto &alert : call.context().alerts.list()) {
        Json entry = error_json(alert.error);
        entry.erase("details");
        entry["since"] = alert.since;
        list.push_back(std::move(entry));
    }
    return list;
}

using Section = Result<Json> (*)(Call &);

struct NamedSection {
    std::string_view name;
    Section read;
};

constexpr std::array<NamedSection, 12> sections{{
    {"host", [](Call &) -> Result<Json> { return host_section(); }},
    {"updates", [](Call &) -> Result<Json> { return updates_section(); }},
    {"enrollment", [](Call &) -> Result<Json> { return enrollment_values(); }},
    {"vbs", [](Call &) -> Result<Json> { return vbs_section(); }},
    {"secure_boot", [](Call &) -> Result<Json> { return Json(platform::secure_boot()); }},
    {"arc", [](Call &) -> Result<Json> { return arc_section(); }},
    {"pending_reboot", [](Call &) -> Result<Json> { return pending_reboot_section(); }},
    {"boot", [](Call &) -> Result<Json> { return boot_section(); }},
    {"agent", agent_section},
    {"payloads", payloads_section},
    {"coverage", coverage_section},
    {"alerts", [](Call &call) -> Result<Json> { return alerts_section(call); }},
}};

// Secure boot is asked for together with virtualization-based security, of which it is a prerequisite.
bool is_wanted(std::string_view name, const std::vector<std::string> &wanted) {
    const auto has = [&](std::string_view each) { return std::find(wanted.begin(), wanted.end(), each) != wanted.end(); };
    return wanted.empty() || has(name) || (name == "secure_boot" && has("vbs"));
}

} // namespace

Result<Json> host_info_operation(Call &call, const Json &arguments) {
    Fields fields(arguments, "arguments");
    const auto wanted = fields.text_list("sections", sections.size());
    for (const std::string &name : wanted) {
        if (std::none_of(sections.begin(), sections.end(), [&](const NamedSection &section) { return section.name == name; })) {
            fields.refuse("sections", "holds an unknown section: '" + name + "'");
        }
    }
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    Json result = Json::object();
    for (const NamedSection &section : sections) {
        if (!is_wanted(section.name, wanted)) {
            continue;
        }
        auto value = section.read(call);
        if (!value) {
            return value.error();
        }
        result[std::string(section.name)] = std::move(value).value();
    }
    return result;
}

Result<Json> enrollment_set_operation(Call &call, const Json &arguments) {
    return set_enrollment(arguments, call.dry_run());
}

Result<Json> package_install_operation(Call &call, const Json &arguments) {
    Fields fields(arguments, "arguments");
    const Sha256 hash = fields.sha256("sha256");
    const std::string kb = fields.text("kb", 10);
    const bool digits = kb.size() >= 8 && std::all_of(kb.begin() + 2, kb.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!kb.starts_with("KB") || !digits) {
        fields.refuse("kb", "is not KB and 6 to 8 digits");
    }
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    const auto started = start_install(call.paths(), hash, kb, call.dry_run());
    if (!started) {
        return started.error();
    }
    return Json::object(
        {{"job", started.value().id.empty() ? Json() : Json(started.value().id)}, {"changed", started.value().changed}});
}

Result<Json> job_status_operation(Call &call, const Json &arguments) {
    Fields fields(arguments, "arguments");
    const std::string id = fields.text("job", 64);
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    auto job = load_job(call.paths(), id);
    if (!job) {
        return job.error();
    }
    return job_json(judged(call.paths(), std::move(job).value()));
}

Result<Json> reboot_operation(Call &call, const Json &arguments) {
    Fields fields(arguments, "arguments");
    const auto delay = static_cast<std::uint32_t>(fields.number("delay_s", 0, longest_reboot_delay_s));
    const std::string message = fields.text("message", 512);
    const auto expected = fields.optional_text("boot_id", 64);
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    const auto boot = current_boot();
    if (!boot) {
        return boot.error();
    }
    const bool wanted = !expected || *expected == boot.value().id;
    if (wanted && !call.dry_run()) {
        if (const auto status = platform::reboot(delay, to_wide(message)); !status) {
            return status.error();
        }
    }
    return Json::object({{"boot_id", boot.value().id}, {"changed", wanted}});
}

Result<Json> boot_id_operation(Call & /*call*/, const Json &arguments) {
    Fields fields(arguments, "arguments");
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    const auto boot = current_boot();
    return boot ? Result<Json>(Json::object({{"boot_id", boot.value().id}})) : Result<Json>(boot.error());
}

} // namespace hotpatch
