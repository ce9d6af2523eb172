// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "enrollment.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "registry.hpp"

namespace hotpatch {

namespace {

enum class Kind : std::uint8_t { number, text };

struct Place {
    std::string_view name; // on the wire
    const wchar_t *key;    // below HKEY_LOCAL_MACHINE
    const wchar_t *value;
    Kind kind;
    bool writable;
};

constexpr const wchar_t *memory_management = L"SYSTEM\\CurrentControlSet\\Control\\Session Manager\\Memory Management";
constexpr const wchar_t *marker =
    L"SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Update\\TargetingInfo\\DynamicInstalled\\Hotpatch.amd64";

constexpr std::array<Place, 7> places{{
    // Microsoft's instructions for Azure Edition and for Arc: the first three, then a restart.
    {"EnableVirtualizationBasedSecurity", L"SYSTEM\\CurrentControlSet\\Control\\DeviceGuard",
     L"EnableVirtualizationBasedSecurity", Kind::number, true},
    {"HotPatchTableSize", memory_management, L"HotPatchTableSize", Kind::number, true},
    {"EnrollmentPackageName", marker, L"Name", Kind::text, true},
    {"EnrollmentPackageVersion", marker, L"Version", Kind::text, true},
    // The client's policy, and on Arm64 the switch that turns compiled-hybrid binaries off.
    {"AllowRebootlessUpdates", L"SOFTWARE\\Microsoft\\PolicyManager\\current\\device\\Update", L"AllowRebootlessUpdates",
     Kind::number, true},
    {"HotPatchRestrictions", memory_management, L"HotPatchRestrictions", Kind::number, true},
    // Written by Azure's agent when the licence is granted; never by us.
    {"ArcSubscription", L"SOFTWARE\\Microsoft\\Azure Connected Machine Agent\\Windows\\Licenses\\Features\\Hotpatch",
     L"Subscription", Kind::number, false},
}};

struct Change {
    const Place *place = nullptr;
    std::optional<registry::Data> data; // nothing: remove
};

Json json_of(const std::optional<registry::Data> &data) {
    return data ? std::visit([](const auto &value) { return Json(value); }, *data) : Json();
}

std::optional<registry::Data> current(const Place &place) {
    auto data = registry::read(place.key, place.value);
    if (data && place.kind == Kind::number && std::holds_alternative<std::string>(*data)) {
        if (const auto number = registry::read_number(place.key, place.value)) {
            return registry::Data(*number); // some tools write the number as text
        }
    }
    return data;
}

Change read_change(Fields &fields) {
    Change change;
    const std::string name = fields.text("name");
    const auto found = std::find_if(places.begin(), places.end(), [&](const Place &place) { return place.name == name; });
    if (found == places.end() || !found->writable) {
        fields.refuse("name", "is not a value that may be set: '" + name + "'");
        return change;
    }
    change.place = &*found;
    const Json *data = fields.raw("data");
    if (data == nullptr) {
        fields.refuse("data", "is missing");
    } else if (data->is_null()) {
        change.data = std::nullopt;
    } else if (found->kind == Kind::number) {
        change.data = fields.number("data", 0, std::numeric_limits<std::uint32_t>::max());
    } else {
        change.data = fields.text("data", 200);
    }
    return change;
}

Result<std::vector<Change>> read_changes(const Json &arguments) {
    std::vector<Change> changes;
    Fields fields(arguments, "arguments");
    const Json &list = fields.list("values", places.size());
    for (std::size_t index = 0; index < list.size(); ++index) {
        Fields element(list[index], "arguments.values[" + std::to_string(index) + "]");
        Change change = read_change(element);
        if (std::any_of(changes.begin(), changes.end(), [&](const Change &other) { return other.place == change.place; })) {
            element.refuse("name", "stands in the list twice");
        }
        if (const auto status = element.done(); !status) {
            return status.error();
        }
        changes.push_back(std::move(change));
    }
    if (const auto status = fields.done(); !status) {
        return status.error();
    }
    return changes;
}

Status carry_out(const Change &change) {
    return change.data ? registry::write(change.place->key, change.place->value, *change.data)
                       : registry::remove(change.place->key, change.place->value);
}

} // namespace

Json enrollment_values() {
    Json values = Json::object();
    for (const Place &place : places) {
        values[std::string(place.name)] = json_of(current(place));
    }
    return values;
}

Result<Json> set_enrollment(const Json &arguments, bool dry_run) {
    const auto changes = read_changes(arguments);
    if (!changes) {
        return changes.error();
    }
    Json before = Json::object();
    Json after = Json::object();
    bool changed = false;
    for (const Change &change : changes.value()) {
        const std::string name(change.place->name);
        const auto held = current(*change.place);
        before[name] = json_of(held);
        after[name] = json_of(change.data);
        if (held == change.data) {
            continue;
        }
        changed = true;
        if (const auto status = dry_run ? Status(Unit{}) : carry_out(change); !status) {
            return status.error();
        }
    }
    return Json::object({{"before", before}, {"after", after}, {"changed", changed}});
}

} // namespace hotpatch
