// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What does the engine cost? Runs the released engine against targets that it starts itself, each measurement in turn with the
// least that Windows asks for the same thing (the floor), and writes the raw figures as JSON to standard output. `python -m
// benchmarks` runs it and makes a table of it. Never part of a release.
//
//   engine-bench stop      TARGET MODULE PAYLOAD THREADS ROUNDS METHOD   stops of a process with so many threads
//   engine-bench unstopped TARGET MODULE PAYLOAD THREADS ROUNDS          threads that are seen suspended while a payload goes in
//   engine-bench calls     TARGET MODULE PAYLOAD ROUNDS CALLS            calls of the patched function
//   engine-bench preflight TARGET MODULE PAYLOAD PROCESSES ROUNDS        a host with so many processes, half of them with the
//   module
//
// PAYLOAD is a payload's content, unsigned; METHOD is `process` or `threads` (StopMethod).
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <windows.h>

#include <tlhelp32.h>

#include "engine.hpp"
#include "engine/candidates.hpp"
#include "engine/inspect.hpp"
#include "engine/nt.hpp"
#include "engine/quiescence.hpp"
#include "engine/stop_block.hpp"
#include "engine/transaction.hpp"
#include "payload_verify.hpp"

namespace hp = hotpatch;
namespace en = hotpatch::engine;

namespace {

using Series = std::map<std::string, std::vector<double>>;

// Nothing of what is measured may be cut off by the limit; which thread counts stay within the usual one, the figures show.
constexpr std::uint32_t generous_us = 20'000'000;
constexpr DWORD between_stops_ms = 2; // so that a stop does not meet threads that still leave the one before it
constexpr int most_busy = 1000;       // a target that is in the function at every one of so many attempts cannot be measured

// A measurement that cannot be made ends the program: its exit code says so, and the targets end with it.
[[noreturn]] void give_up(const std::string &why) {
    throw std::runtime_error(why);
}

template <typename T> T need(hp::Result<T> result, const char *what) {
    if (!result.ok()) {
        give_up(std::string(what) + ": " + std::string(hp::name_of(result.error().code)) + " " + result.error().message);
    }
    return std::move(result).value();
}

std::string narrow(const wchar_t *text) {
    std::string made;
    for (; *text != 0; ++text) {
        made += static_cast<char>(*text); // paths and words that the caller made of ASCII
    }
    return made;
}

// -- the process that is patched
// ---------------------------------------------------------------------------------------------------

class Target {
public:
    Target(const std::wstring &program, const std::wstring &module) {
        SECURITY_ATTRIBUTES inherit{sizeof inherit, nullptr, TRUE};
        hp::unique_handle input, output;
        if (!CreatePipe(input.out(), to_.out(), &inherit, 0) || !CreatePipe(from_.out(), output.out(), &inherit, 0)) {
            give_up("no pipe");
        }
        // The target's end of life is the end of its input, so nobody else may hold that open.
        SetHandleInformation(to_.get(), HANDLE_FLAG_INHERIT, 0);
        SetHandleInformation(from_.get(), HANDLE_FLAG_INHERIT, 0);
        STARTUPINFOW startup{};
        startup.cb = sizeof startup;
        startup.dwFlags = STARTF_USESTDHANDLES;
        startup.hStdInput = input.get();
        startup.hStdOutput = output.get();
        startup.hStdError = output.get();
        std::wstring line = L"\"" + program + L"\"" + (module.empty() ? L"" : L" \"" + module + L"\"");
        PROCESS_INFORMATION created{};
        if (!CreateProcessW(nullptr, line.data(), nullptr, nullptr, TRUE, DETACHED_PROCESS, nullptr, nullptr, &startup,
                            &created)) {
            give_up("the target does not start");
        }
        CloseHandle(created.hThread);
        process_ = hp::unique_handle(created.hProcess);
        pid_ = created.dwProcessId;
    }
    Target(Target &&) noexcept = default;
    Target &operator=(Target &&) = delete;
    ~Target() {
        to_.reset();
        if (process_ && WaitForSingleObject(process_.get(), 5000) != WAIT_OBJECT_0) {
            TerminateProcess(process_.get(), 1);
        }
    }

    void expect(const std::string &answer) {
        const auto given = read();
        if (given != answer) {
            give_up("the target says '" + given + "' instead of '" + answer + "'");
        }
    }
    std::string ask(const std::string &line) {
        const auto text = line + "\n";
        DWORD done = 0;
        WriteFile(to_.get(), text.data(), static_cast<DWORD>(text.size()), &done, nullptr);
        return read();
    }
    [[nodiscard]] std::uint32_t pid() const { return pid_; }

private:
    std::string read() {
        std::string line;
        for (char letter = 0; letter != '\n';) {
            DWORD done = 0;
            if (!ReadFile(from_.get(), &letter, 1, &done, nullptr) || done != 1) {
                give_up("the target ended");
            }
            if (letter != '\n' && letter != '\r') {
                line += letter;
            }
        }
        return line;
    }
    hp::unique_handle to_, from_, process_;
    std::uint32_t pid_ = 0;
};

hp::Payload read_payload(const std::wstring &path) {
    std::ifstream file(narrow(path.c_str()), std::ios::binary);
    const hp::Bytes content((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    return need(hp::decode_payload(content), "the payload");
}

// -- the engine, as the agent uses it, with its parts within reach
// -----------------------------------------------------------------

class Patched {
public:
    Patched(const Target &target, const hp::Payload &payload, const std::wstring &journal)
        : payload_(&payload), journal_(need(en::Journal::open(journal), "the journal")),
          guards_(need(en::GuardPost::open(journal + L".stop"), "the file of the stop")), pid_{target.pid()} {}

    // The payload goes in by the whole way: inspected, prepared, stopped, verified.
    en::ProcessReport apply(const en::Limits &limits) {
        auto candidates = need(en::find_candidates(payload_->target, pid_), "the processes").modules;
        if (candidates.size() != 1) {
            give_up("the target has not loaded the module");
        }
        auto &candidate = candidates.front();
        en::ImageCache images;
        auto inspection = en::Inspector(journal_, images).inspect(candidate, *payload_);
        if (inspection.report.verdict != en::Verdict::would_apply) {
            give_up("the target cannot be patched: " + std::string(hp::name_of(inspection.report.error->code)));
        }
        candidate.process = need(en::open_process(candidate.process.id, en::Access::change), "the target");
        en::Transaction(journal_, limits, guards_).apply(candidate, *payload_, inspection);
        return inspection.report;
    }
    en::ProcessReport revert(const en::Limits &limits) {
        en::ProcessReport report;
        const auto process = open();
        en::Transaction(journal_, limits, guards_).revert(process, patch(), report);
        return report;
    }
    // Within the usual limits when that goes, for the verdict; without a limit when it does not, for the measurements.
    en::ProcessReport apply_surely() {
        auto report = apply({});
        if (report.verdict != en::Verdict::applied && apply({generous_us, 60'000}).verdict != en::Verdict::applied) {
            give_up("the payload does not go in: " + std::string(hp::name_of(report.error->code)));
        }
        return report;
    }
    void revert_surely() {
        const auto report = revert({generous_us, 60'000});
        if (report.verdict != en::Verdict::reverted) {
            give_up("the payload does not come out: " + std::string(hp::name_of(report.error->code)));
        }
    }
    [[nodiscard]] const en::Patch &patch() const {
        for (const auto &[transaction, patch] : journal_.open_patches()) {
            if (en::is_in_force(patch)) {
                return patch;
            }
        }
        give_up("no patch is in force");
    }
    [[nodiscard]] en::Guard &guard() { return *need(guards_.guard(), "the guard"); }
    [[nodiscard]] en::Process open() const { return need(en::open_process(patch().process, en::Access::change), "the target"); }

private:
    const hp::Payload *payload_;
    en::Journal journal_;
    en::GuardPost guards_;
    std::vector<std::uint32_t> pid_;
};

// Takes the redirection of a patch away and puts it back: the stop alone, again and again.
class Switch {
public:
    explicit Switch(Patched &patched) : patch_(patched.patch()), process_(patched.open()), guard_(&patched.guard()) {}

    // The stop as `apply` makes it. Microseconds; a busy target is tried again and counted.
    double on(hp::Quiescence quiescence, en::StopMethod method) {
        patch_.quiescence = quiescence;
        return change({}, &patch_, method);
    }
    // The stop as `revert` makes it: with a look whether anything still uses the new code.
    double off(hp::Quiescence quiescence, en::StopMethod method) {
        patch_.quiescence = quiescence;
        const en::Patch *const leaving[] = {&patch_};
        return change(leaving, nullptr, method);
    }
    [[nodiscard]] const en::Process &process() const { return process_; }
    [[nodiscard]] std::uint32_t threads() const { return threads_; }
    [[nodiscard]] int busy() const { return busy_; }

private:
    double change(std::span<const en::Patch *const> leaving, const en::Patch *entering, en::StopMethod method) {
        auto rules = en::rules_for(leaving, entering);
        rules.budget_us = generous_us;
        rules.method = method;
        const auto changes = en::changes_between(leaving, entering);
        for (int attempt = 0; attempt < most_busy; ++attempt) {
            Sleep(between_stops_ms);
            auto stop = need(en::Stop::prepare(process_, *guard_, changes, rules), "the stop");
            const auto report = stop.run();
            threads_ = report.threads;
            if (report.result == en::StopResult::changed) {
                return report.stop_us;
            }
            if (report.result != en::StopResult::busy) {
                give_up("the stop ends with " + std::to_string(static_cast<int>(report.result)));
            }
            ++busy_;
        }
        give_up("the target is always busy");
    }

    en::Patch patch_;
    en::Process process_;
    en::Guard *guard_;
    std::uint32_t threads_ = 0;
    int busy_ = 0;
};

// -- floors: the least that Windows asks for the same
// -------------------------------------------------------------------------------

std::vector<hp::unique_handle> threads_of(HANDLE process) {
    std::vector<hp::unique_handle> threads;
    constexpr ACCESS_MASK access = THREAD_SUSPEND_RESUME | THREAD_GET_CONTEXT | THREAD_QUERY_INFORMATION | SYNCHRONIZE;
    HANDLE next = nullptr;
    while (en::nt::calls().get_next_thread(process, threads.empty() ? nullptr : threads.back().get(), access, 0, 0, &next) >= 0) {
        threads.emplace_back(std::exchange(next, nullptr));
    }
    return threads;
}

// Stops the threads, reads each one's registers where asked for, and resumes them. Microseconds.
double bare_stop(HANDLE process, const std::vector<hp::unique_handle> &threads, bool contexts, en::StopMethod method) {
    Sleep(between_stops_ms);
    const bool whole = method == en::StopMethod::process;
    const auto begin = en::nt::ticks();
    if (whole) {
        en::nt::calls().suspend_process(process);
    } else {
        for (const auto &thread : threads) {
            SuspendThread(thread.get());
        }
    }
    bool all = true;
    CONTEXT context{};
    for (std::size_t index = 0; contexts && index < threads.size(); ++index) {
        context.ContextFlags = CONTEXT_CONTROL | CONTEXT_INTEGER;
        all = GetThreadContext(threads[index].get(), &context) != FALSE && all;
    }
    if (whole) {
        en::nt::calls().resume_process(process);
    } else {
        for (const auto &thread : threads) {
            ResumeThread(thread.get());
        }
    }
    const auto end = en::nt::ticks();
    if (!all) {
        give_up("a thread's registers cannot be read");
    }
    return en::nt::microseconds(end - begin);
}

// Lists the processes and the names of their modules, as any program on Windows does. Microseconds.
double bare_listing(std::size_t &modules) {
    const auto begin = en::nt::ticks();
    const hp::unique_handle processes(CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0));
    PROCESSENTRY32W process{};
    process.dwSize = sizeof process;
    for (BOOL more = Process32FirstW(processes.get(), &process); more; more = Process32NextW(processes.get(), &process)) {
        const hp::unique_handle list(CreateToolhelp32Snapshot(TH32CS_SNAPMODULE, process.th32ProcessID));
        MODULEENTRY32W module{};
        module.dwSize = sizeof module;
        for (BOOL next = list && Module32FirstW(list.get(), &module); next; next = Module32NextW(list.get(), &module)) {
            ++modules;
        }
    }
    return en::nt::microseconds(en::nt::ticks() - begin);
}

// -- output
// -------------------------------------------------------------------------------------------------------------------------

void print(const std::map<std::string, std::string> &facts, const Series &series) {
    std::printf("{");
    for (const auto &[name, value] : facts) {
        std::printf("\"%s\": %s, ", name.c_str(), value.c_str());
    }
    std::printf("\"series\": {");
    const char *between = "";
    for (const auto &[name, values] : series) {
        std::printf("%s\"%s\": [", std::exchange(between, ", "), name.c_str());
        const char *comma = "";
        for (const auto value : values) {
            std::printf("%s%.3f", std::exchange(comma, ", "), value);
        }
        std::printf("]");
    }
    std::printf("}}\n");
}

std::string quoted(std::string_view text) {
    return '"' + std::string(text) + '"';
}

std::string verdict_of(const en::ProcessReport &report) {
    return report.error ? std::string(hp::name_of(report.error->code)) : "applied";
}

// -- the measurements
// ---------------------------------------------------------------------------------------------------------------

struct Place {
    std::wstring program, module;
    hp::Payload payload;
    std::wstring journal;
};

int measure_stops(const Place &place, int threads, int rounds, en::StopMethod method) {
    Target target(place.program, place.module);
    target.expect("ready");
    if (target.ask("threads " + std::to_string(threads)) != "serving") {
        give_up("the target's threads do not start");
    }
    Patched patched(target, place.payload, place.journal);
    const auto applied = patched.apply_surely();
    std::map<std::string, std::string> facts{{"verdict", quoted(verdict_of(applied))},
                                             {"budget_us", std::to_string(en::Limits{}.stop_budget_us)}};
    Series series;
    {
        Switch change(patched);
        change.off(hp::Quiescence::entry, method);
        const auto handle = change.process().handle.get();
        const auto all = threads_of(handle);
        const auto floor = [&] { series["floor"].push_back(bare_stop(handle, all, true, method)); };
        for (int round = 0; round < rounds; ++round) {
            if (round % 2 == 0) { // each goes first as often as the other
                floor();
            }
            series["entry"].push_back(change.on(hp::Quiescence::entry, method));
            if (round % 2 != 0) {
                floor();
            }
            series["bare"].push_back(bare_stop(handle, all, false, method));
            series["revert"].push_back(change.off(hp::Quiescence::entry, method));
            series["functions"].push_back(change.on(hp::Quiescence::functions, method));
            change.off(hp::Quiescence::functions, method);
        }
        change.on(hp::Quiescence::entry, method); // as the journal has it
        facts["threads"] = std::to_string(change.threads());
        facts["floor_threads"] = std::to_string(all.size());
        facts["busy"] = std::to_string(change.busy());
    }
    patched.revert_surely();
    print(facts, series);
    return 0;
}

// Looks at every thread's suspend count as fast as it can while something is done, and counts the threads that were suspended.
template <typename Action> std::size_t seen_suspended(const std::vector<hp::unique_handle> &threads, Action action) {
    std::atomic<bool> watching{false}, done{false};
    std::set<std::size_t> seen;
    std::thread watcher([&] {
        while (!done) {
            for (std::size_t index = 0; index < threads.size(); ++index) {
                std::uint32_t count = 0;
                if (en::suspend_count(threads[index].get(), count) && count > 0) {
                    seen.insert(index);
                }
            }
            watching = true;
        }
    });
    while (!watching) {
        Sleep(1);
    }
    action();
    done = true;
    watcher.join();
    return seen.size();
}

int measure_unstopped(const Place &place, int threads, int rounds) {
    Target target(place.program, place.module);
    target.expect("ready");
    target.ask("threads " + std::to_string(threads));
    Patched patched(target, place.payload, place.journal);
    const hp::unique_handle process(OpenProcess(PROCESS_QUERY_INFORMATION, FALSE, target.pid()));
    const auto all = threads_of(process.get());
    Series series;
    for (int round = 0; round < rounds; ++round) {
        en::ProcessReport report;
        const auto seen = seen_suspended(all, [&] { report = patched.apply({generous_us, 60'000}); });
        if (report.verdict != en::Verdict::applied) {
            give_up("the payload does not go in: " + verdict_of(report));
        }
        series["suspended"].push_back(static_cast<double>(seen));
        series["stop_us"].push_back(report.stop_us);
        series["suspended_by_revert"].push_back(static_cast<double>(seen_suspended(all, [&] { patched.revert_surely(); })));
    }
    print({{"threads", std::to_string(all.size())}}, series);
    return 0;
}

int measure_calls(const Place &place, int rounds, int calls) {
    Target target(place.program, place.module);
    target.expect("ready");
    Patched patched(target, place.payload, place.journal);
    (void)patched.apply_surely();
    const auto method = en::usual_stop_method();
    Series series;
    const auto time = [&](const std::string &function) {
        return std::stod(target.ask("time " + function + " " + std::to_string(calls)));
    };
    {
        Switch change(patched);
        for (int round = 0; round < rounds; ++round) {
            series["patched"].push_back(time("answer"));
            change.off(hp::Quiescence::entry, method);
            for (const auto *function : {"direct", "one_jump", "two_jumps"}) {
                series[function].push_back(time(function));
            }
            series["unpatched"].push_back(time("answer"));
            change.on(hp::Quiescence::entry, method);
        }
    }
    const auto answer = target.ask("call");
    patched.revert_surely();
    print({{"patched_answer", answer}, {"unpatched_answer", target.ask("call")}}, series);
    return 0;
}

int measure_preflight(const Place &place, int processes, int rounds) {
    std::vector<Target> targets;
    const int with_module = processes / 2;
    for (int index = 0; index < processes; ++index) {
        targets.emplace_back(place.program, index < with_module ? place.module : std::wstring());
    }
    for (auto &target : targets) {
        target.expect("ready");
    }
    auto engine = need(en::Engine::open(place.journal), "the engine");
    Series series;
    std::size_t modules = 0, found = 0;
    for (int round = 0; round < rounds; ++round) {
        modules = 0;
        series["listing"].push_back(bare_listing(modules));
        const auto begin = en::nt::ticks();
        const auto report = need(engine.preflight(place.payload, {}), "the preflight");
        series["preflight"].push_back(en::nt::microseconds(en::nt::ticks() - begin));
        found = static_cast<std::size_t>(std::count_if(report.processes.begin(), report.processes.end(), [](const auto &process) {
            return process.verdict == en::Verdict::would_apply;
        }));
    }
    const auto listed = need(en::list_processes(), "the processes").size();
    print({{"processes", std::to_string(listed)}, {"modules", std::to_string(modules)}, {"with_module", std::to_string(found)}},
          series);
    return 0;
}

int run(const std::vector<std::wstring> &words) {
    if (words.size() < 6) {
        return 2;
    }
    const auto number = [&](std::size_t index) { return words.size() > index ? std::stoi(words[index]) : 0; };
    const Place place{words[1], words[2], read_payload(words[3]), words[3] + L".journal"};
    if (words[0] == L"stop" && words.size() == 7) {
        return measure_stops(place, number(4), number(5),
                             words[6] == L"process" ? en::StopMethod::process : en::StopMethod::threads);
    }
    if (words[0] == L"unstopped") {
        return measure_unstopped(place, number(4), number(5));
    }
    if (words[0] == L"calls") {
        return measure_calls(place, number(4), number(5));
    }
    return words[0] == L"preflight" ? measure_preflight(place, number(4), number(5)) : 2;
}

} // namespace

int wmain(int argc, wchar_t **argv) {
    if (const auto code = en::run_guard(argc, argv)) {
        return *code;
    }
    try {
        return run({argv + 1, argv + argc});
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
