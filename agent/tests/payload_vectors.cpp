// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// What does the agent's reader of payloads say to each file? Reads a document of tests/vectors from standard input and writes to
// standard output
//   verdicts     the verdict on each vector ("accepted" or a code),
//   truncations  how often each verdict was given to the proper prefixes of the first vector's file,
//   flips        the same for that file with any one of its bits flipped,
//   splices      the same with any one of its bytes removed or doubled.
#include <cstdio>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include <fcntl.h>
#include <io.h>

#include "json.hpp"
#include "payload_verify.hpp"
#include "text.hpp"
#include "trust.hpp"

namespace {

using namespace hotpatch;

using Counts = std::map<std::string, int>;

class Reader {
public:
    Reader(Trust trust, std::uint64_t time) : trust_(std::move(trust)), time_(time) {}
    [[nodiscard]] std::string verdict(std::span<const std::uint8_t> file) const {
        const auto payload = verify_payload(file, trust_, time_);
        return payload ? "accepted" : std::string(name_of(payload.error().code));
    }

private:
    Trust trust_;
    std::uint64_t time_;
};

Counts truncations(const Reader &reader, const Bytes &file) {
    Counts counts;
    for (std::size_t size = 0; size < file.size(); ++size) {
        // Of exactly that size on the heap, so that a read behind its end is one behind an allocation.
        const Bytes prefix(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size));
        ++counts[reader.verdict(prefix)];
    }
    return counts;
}

Counts flips(const Reader &reader, Bytes file) {
    Counts counts;
    for (auto &byte : file) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            byte = static_cast<std::uint8_t>(byte ^ (1U << bit));
            ++counts[reader.verdict(file)];
            byte = static_cast<std::uint8_t>(byte ^ (1U << bit));
        }
    }
    return counts;
}

Counts splices(const Reader &reader, const Bytes &file) {
    Counts counts;
    for (std::ptrdiff_t at = 0; at < std::ssize(file); ++at) {
        Bytes removed = file;
        removed.erase(removed.begin() + at);
        ++counts[reader.verdict(removed)];
        Bytes doubled = file;
        doubled.insert(doubled.begin() + at, file[static_cast<std::size_t>(at)]);
        ++counts[reader.verdict(doubled)];
    }
    return counts;
}

std::string read_standard_input() {
    _setmode(_fileno(stdin), _O_BINARY);
    std::string text;
    char buffer[65'536];
    for (std::size_t have = 0; (have = std::fread(buffer, 1, sizeof buffer, stdin)) > 0;) {
        text.append(buffer, have);
    }
    return text;
}

int run() {
    const auto document = parse_json(read_standard_input());
    if (!document) {
        std::fprintf(stderr, "%s\n", document.error().message.c_str());
        return 2;
    }
    auto trust = trust_of_arguments(document.value()["trust"]);
    if (!trust) {
        std::fprintf(stderr, "%s\n", trust.error().message.c_str());
        return 2;
    }
    for (const auto &[id, sequence] : document.value()["sequences"].items()) {
        trust.value().sequences[id] = sequence.get<std::uint64_t>();
    }
    const Reader reader(std::move(trust).value(), document.value()["now"].get<std::uint64_t>());
    std::vector<Bytes> files;
    Json verdicts = Json::array();
    for (const Json &vector : document.value()["vectors"]) {
        files.push_back(parse_base64(vector["file"].get<std::string>()).value_or(Bytes()));
        verdicts.push_back(reader.verdict(files.back()));
    }
    const Json result = Json::object({{"verdicts", verdicts},
                                      {"truncations", truncations(reader, files.front())},
                                      {"flips", flips(reader, files.front())},
                                      {"splices", splices(reader, files.front())}});
    std::puts(dump_json(result).c_str());
    return 0;
}

} // namespace

int main() {
    return run();
}
