// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
#include "engine/blocking.hpp"

#include <algorithm>

#include "text.hpp"

namespace hotpatch::engine {

namespace {

constexpr std::size_t longest_stack = 64; // lines; a recursion is recognised by fewer

// The last in the order of addresses that contains it: the function rather than the region around it.
const NamedRange *innermost(const std::vector<NamedRange> &named, std::uint64_t address) {
    const auto found =
        std::find_if(named.rbegin(), named.rend(), [address](const NamedRange &each) { return each.range.contains(address); });
    return found == named.rend() ? nullptr : &*found;
}

std::optional<std::string> name_address(const Process &process, const std::vector<Module> &modules,
                                        const std::vector<NamedRange> &named, std::uint64_t address) {
    if (const auto *function = innermost(named, address)) {
        return function->name + "+0x" + hex(address - function->range.begin);
    }
    for (const auto &module : modules) {
        if (address >= module.base && address < module.base + module.image_size) {
            const auto info = query_memory(process.handle.get(), address);
            if (info && is_executable(info->Protect)) {
                return to_utf8(file_name_of(module.path)) + "+0x" + hex(address - module.base);
            }
        }
    }
    return std::nullopt;
}

} // namespace

Blocking name_obstacle(const Process &process, const Obstacle &obstacle, const std::vector<NamedRange> &named) {
    Blocking blocking{obstacle.thread, {}, {}};
    if (const auto *function = innermost(named, obstacle.address)) {
        blocking.function = function->name;
    }
    const auto listed = list_modules(process);
    const auto modules = listed.ok() ? listed.value() : std::vector<Module>{};
    const auto add = [&](std::uint64_t address) {
        if (blocking.stack.size() < longest_stack) {
            if (auto name = name_address(process, modules, named, address)) {
                blocking.stack.push_back(std::move(*name));
            }
        }
    };
    add(obstacle.instruction);
    std::for_each(obstacle.stack.begin(), obstacle.stack.begin() + static_cast<std::ptrdiff_t>(obstacle.depth), add);
    return blocking;
}

} // namespace hotpatch::engine
