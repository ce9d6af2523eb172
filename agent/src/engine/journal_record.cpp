// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// A patch as bytes. One function names the fields in order; writing and reading both go through it, so they cannot disagree.
#include <cstring>
#include <type_traits>

#include "engine/journal.hpp"

namespace hotpatch::engine {

namespace {

constexpr std::uint8_t record_version = 2;
constexpr std::size_t largest_count = 1 << 20;

class Writer {
public:
    template <typename T>
    requires(std::is_trivially_copyable_v<T>) void field(const T &value) {
        const auto *raw = reinterpret_cast<const std::uint8_t *>(&value);
        bytes.insert(bytes.end(), raw, raw + sizeof value);
    }
    void field(const std::string &text) {
        count(text.size());
        bytes.insert(bytes.end(), text.begin(), text.end());
    }
    template <typename T, typename Each> void list(const std::vector<T> &items, Each each) {
        count(items.size());
        for (const auto &item : items) {
            each(*this, item);
        }
    }
    Bytes bytes;

private:
    void count(std::size_t size) { field(static_cast<std::uint32_t>(size)); }
};

class Reader {
public:
    explicit Reader(std::span<const std::uint8_t> bytes) : rest_(bytes) {}

    template <typename T>
    requires(std::is_trivially_copyable_v<T>) void field(T &value) {
        if (take(sizeof value)) {
            std::memcpy(&value, taken_.data(), sizeof value);
        }
    }
    void field(std::string &text) {
        if (take(count())) {
            text.assign(taken_.begin(), taken_.end());
        }
    }
    template <typename T, typename Each> void list(std::vector<T> &items, Each each) {
        const auto size = count();
        for (std::size_t index = 0; index < size && good_; ++index) {
            each(*this, items.emplace_back());
        }
    }
    [[nodiscard]] bool complete() const { return good_ && rest_.empty(); }

private:
    std::size_t count() {
        std::uint32_t size = 0;
        field(size);
        good_ = good_ && size <= largest_count;
        return good_ ? size : 0;
    }
    bool take(std::size_t size) {
        good_ = good_ && size <= rest_.size();
        if (good_) {
            taken_ = rest_.first(size);
            rest_ = rest_.subspan(size);
        }
        return good_;
    }
    std::span<const std::uint8_t> rest_;
    std::span<const std::uint8_t> taken_;
    bool good_ = true;
};

// `Stream` is Writer or Reader, `P` const Patch or Patch.
template <typename Stream, typename P> void fields(Stream &stream, P &patch) {
    stream.field(patch.transaction);
    stream.field(patch.phase);
    stream.field(patch.process.pid);
    stream.field(patch.process.created);
    stream.field(patch.image);
    stream.field(patch.module);
    stream.field(patch.base);
    stream.field(patch.image_size);
    stream.field(patch.payload_id);
    stream.field(patch.sequence);
    stream.field(patch.sha256);
    stream.field(patch.quiescence);
    stream.list(patch.functions, [](Stream &each, auto &function) {
        each.field(function.name);
        each.field(function.rva);
        each.field(function.length);
        each.field(function.entry);
        each.field(function.overwrite);
        each.field(function.calls_in_overwrite);
    });
    stream.list(patch.sites, [](Stream &each, auto &site) {
        each.field(site.address);
        each.field(site.kind);
        each.field(site.length);
        each.field(site.function);
        each.field(site.original);
        each.field(site.patched);
    });
    stream.field(patch.region);
    stream.field(patch.region_size);
    stream.field(patch.allocation_size);
    stream.field(patch.nonce);
    stream.field(patch.unwind_entries);
    stream.list(patch.code, [](Stream &each, auto &range) {
        each.field(range.begin);
        each.field(range.end);
    });
    stream.list(patch.replaces, [](Stream &each, auto &transaction) { each.field(transaction); });
    stream.field(patch.stopped);
    stream.field(patch.since);
    stream.field(patch.stop_us);
}

bool plausible(const Patch &patch) {
    for (const auto &site : patch.sites) {
        if (site.length > largest_site || site.function >= patch.functions.size()) {
            return false;
        }
    }
    return patch.phase <= Phase::closed && patch.allocation_size >= patch.region_size;
}

} // namespace

Bytes encode(const Patch &patch) {
    Writer writer;
    writer.field(record_version);
    fields(writer, patch);
    return std::move(writer.bytes);
}

std::optional<Patch> decode(std::span<const std::uint8_t> body) {
    Reader reader(body);
    std::uint8_t version = 0;
    reader.field(version);
    Patch patch;
    fields(reader, patch);
    return version == record_version && reader.complete() && plausible(patch) ? std::optional(std::move(patch)) : std::nullopt;
}

} // namespace hotpatch::engine
