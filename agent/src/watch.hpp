// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The service's watch: new processes are patched, applied sites are checked, what is wrong becomes alerts, events and metrics.
#pragma once

#include <cstdint>
#include <vector>

#include "agent_context.hpp"
#include "handle.hpp"
#include "payload_operations.hpp"
#include "result.hpp"

namespace hotpatch {

class Watch {
public:
    // `wake` is an auto-reset event: something changed, look now. `stop` ends the watch.
    Watch(AgentContext &context, HANDLE wake, HANDLE stop) : context_(context), wake_(wake), stop_(stop) {}

    // Until `stop`.
    void run();

private:
    // Files whose change makes the wanted payloads be read and verified again.
    struct Stamp {
        std::uint64_t desired = 0;
        std::uint64_t trust = 0;
        std::uint64_t journal = 0;
        bool operator==(const Stamp &) const = default;
    };
    [[nodiscard]] Stamp stamp() const;
    void refresh();
    [[nodiscard]] std::vector<Error> look(Call &call);
    void round();
    // True when the alerts are others than before.
    bool tell(const std::vector<Error> &current);
    // The journal's size stands for all that the engine did: every change of what is in force is a record of it.
    [[nodiscard]] bool metrics_are_old(std::uint64_t journal_size) const;
    void write_metrics(Call &call, bool changed);

    AgentContext &context_;
    HANDLE wake_;
    HANDLE stop_;
    Stamp stamp_;
    std::uint64_t valid_until_ = 0; // the first expiry of a wanted payload
    Wanted wanted_;
    std::uint64_t rounds_ = 0;
    std::uint64_t metrics_written_ = 0; // seconds since 1970 UTC
    std::uint64_t metrics_journal_ = 0; // the journal's size then
};

} // namespace hotpatch
