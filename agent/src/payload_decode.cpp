// SPDX-FileCopyrightText: hotpatch.windows contributors
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The content map of a payload. Its encoding is deterministic and all its keys are required, so the order of keys is known: the
// decoder asks for each in turn, and an unknown, missing, doubled or misplaced key is simply another one than the one asked for.
#include <algorithm>
#include <array>
#include <limits>
#include <string_view>

#include "cbor.hpp"
#include "payload_verify.hpp"
#include "text.hpp"

namespace hotpatch {

namespace {

constexpr std::uint64_t supported_format = 1;
constexpr std::uint64_t machine_amd64 = 0x8664;
constexpr std::uint64_t largest_address = (std::uint64_t{1} << 31U) - 1; // of RVAs and offsets
constexpr std::uint64_t any_number = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint32_t page = 4096;
constexpr std::uint32_t largest_region = std::uint32_t{8} << 20U;
constexpr std::uint32_t entry_alignment = 16;
constexpr std::size_t longest_id = 64;
constexpr std::size_t longest_title = 200;
constexpr std::size_t longest_name = 1024; // of a function, a file or a CVE; decorated C++ names are long
constexpr std::uint32_t near_jump_size = 5;
constexpr std::uint32_t longest_overwrite = 15;

// Reading and checking the content; the first disagreement is kept, with its place in words.
class Decoder {
public:
    explicit Decoder(cbor::View content) : reader_(content) {}

    Result<Payload> decode();

private:
    // -- one value
    // ----------------------------------------------------------------------------------------------------------------
    void require(bool condition, std::string_view what);
    std::uint64_t number(std::string_view key, std::uint64_t largest);
    std::uint32_t offset(std::string_view key) { return static_cast<std::uint32_t>(number(key, largest_address)); }
    std::uint32_t word(std::string_view key) {
        return static_cast<std::uint32_t>(number(key, std::numeric_limits<std::uint32_t>::max()));
    }
    std::string text(std::string_view key, std::size_t longest);
    std::string line(std::size_t longest);
    Bytes bytes(std::string_view key);
    void pairs(std::size_t count);
    std::size_t items(std::string_view key);
    template <typename T, std::size_t N>
    T choice(std::string_view key, const std::array<std::pair<std::string_view, T>, N> &choices);

    // -- parts of the payload
    // -------------------------------------------------------------------------------------------------------
    void target();
    void region();
    void section();
    void fixup();
    void unwind();
    void function();
    void check_fixups();
    void check_unwind();
    void check_functions();
    void check_redirect(const Function &function);
    [[nodiscard]] const Section *section_at(std::uint64_t begin, std::uint64_t end) const;
    [[nodiscard]] bool executable(std::uint64_t begin, std::uint64_t end) const;

    cbor::Reader reader_;
    Payload payload_;
    std::string problem_;
};

bool is_id(std::string_view id) {
    const auto letter_or_digit = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    return !id.empty() && id.size() <= longest_id && letter_or_digit(id.front()) &&
           std::all_of(id.begin(), id.end(), [&](char c) { return letter_or_digit(c) || c == '.' || c == '_' || c == '-'; });
}

bool has_control_characters(std::string_view text) {
    return std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

std::size_t characters(std::string_view utf8) {
    return static_cast<std::size_t>(
        std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned>(c) & 0xC0U) != 0x80U; }));
}

bool is_file_name(std::string_view name) {
    return !name.empty() && characters(name) <= 255 && name.find_first_of("\\/:*?\"<>|") == std::string_view::npos;
}

bool is_padding(const Bytes &padding) {
    static const Bytes five_byte_nop{0x0F, 0x1F, 0x44, 0x00, 0x00}; // the recommended form (AMD64 manual, volume 3, NOP)
    const auto all = [&](std::uint8_t value) {
        return std::all_of(padding.begin(), padding.end(), [&](std::uint8_t byte) { return byte == value; });
    };
    return padding.size() == near_jump_size && (all(0x90) || all(0xCC) || padding == five_byte_nop);
}

void Decoder::require(bool condition, std::string_view what) {
    if (!condition && reader_.ok()) {
        problem_ = what;
        reader_.fail(cbor::Failure::malformed);
    }
}

std::uint64_t Decoder::number(std::string_view key, std::uint64_t largest) {
    reader_.key(key);
    const std::uint64_t value = reader_.unsigned_integer();
    require(value <= largest, std::string(key) + " is out of range");
    return reader_.ok() ? value : 0;
}

std::string Decoder::line(std::size_t longest) {
    const std::string_view value = reader_.text();
    require(characters(value) <= longest, "a text is too long");
    require(!has_control_characters(value), "a text holds control characters");
    return std::string(value);
}

std::string Decoder::text(std::string_view key, std::size_t longest) {
    reader_.key(key);
    return line(longest);
}

Bytes Decoder::bytes(std::string_view key) {
    reader_.key(key);
    const cbor::View value = reader_.byte_string();
    return {value.begin(), value.end()};
}

void Decoder::pairs(std::size_t count) {
    const std::size_t found = reader_.map();
    require(found == count, "a map has not the documented keys");
}

std::size_t Decoder::items(std::string_view key) {
    reader_.key(key);
    return reader_.array();
}

template <typename T, std::size_t N>
T Decoder::choice(std::string_view key, const std::array<std::pair<std::string_view, T>, N> &choices) {
    reader_.key(key);
    const std::string_view value = reader_.text();
    const auto found = std::find_if(choices.begin(), choices.end(), [&](const auto &entry) { return entry.first == value; });
    require(found != choices.end(), std::string(key) + " has a value that is not documented");
    return found != choices.end() ? found->second : choices.front().second;
}

void Decoder::target() {
    reader_.key("target");
    pairs(6);
    Target &target = payload_.target;
    target.name = text("name", longest_name);
    require(is_file_name(target.name), "target.name is not a file name");
    target.size = number("size", any_number);
    const Bytes hash = bytes("sha256");
    require(hash.size() == target.sha256.size(), "target.sha256 is not 32 bytes long");
    if (reader_.ok()) {
        std::copy(hash.begin(), hash.end(), target.sha256.begin());
    }
    target.checksum = word("checksum");
    target.timestamp = word("timestamp");
    target.image_size = offset("image_size");
}

void Decoder::section() {
    static constexpr std::array<std::pair<std::string_view, Protection>, 3> protections{
        {{"rx", Protection::read_execute}, {"r", Protection::read}, {"rw", Protection::read_write}}};
    pairs(4);
    Section section;
    section.data = bytes("data");
    section.size = offset("size");
    section.offset = offset("offset");
    section.protection = choice("protection", protections);
    const std::uint64_t previous_end =
        payload_.sections.empty() ? 0 : payload_.sections.back().offset + std::uint64_t{payload_.sections.back().size};
    require(section.offset % page == 0 && section.size > 0 && section.offset >= previous_end,
            "sections are not sorted, aligned and apart");
    require(section.data.size() <= section.size, "a section's data is longer than the section");
    payload_.sections.push_back(std::move(section));
}

void Decoder::region() {
    reader_.key("region");
    pairs(2);
    payload_.region_size = offset("size");
    require(payload_.region_size > 0 && payload_.region_size % page == 0 && payload_.region_size <= largest_region,
            "region.size is out of range");
    for (std::size_t left = items("sections"); left > 0 && reader_.ok(); --left) {
        section();
    }
    const std::uint64_t end =
        payload_.sections.empty() ? 0 : payload_.sections.back().offset + std::uint64_t{payload_.sections.back().size};
    require(end <= payload_.region_size, "a section reaches beyond the region");
}

void Decoder::fixup() {
    static constexpr std::array<std::pair<std::string_view, FixupKind>, 2> kinds{
        {{"rel32", FixupKind::rel32}, {"abs64", FixupKind::abs64}}};
    static constexpr std::array<std::pair<std::string_view, FixupBase>, 2> bases{
        {{"target", FixupBase::target}, {"region", FixupBase::region}}};
    pairs(5);
    Fixup fixup;
    fixup.base = choice("base", bases);
    fixup.kind = choice("kind", kinds);
    fixup.value = offset("value");
    reader_.key("addend");
    const std::int64_t addend = reader_.integer();
    require(addend >= std::numeric_limits<std::int32_t>::min() && addend <= std::numeric_limits<std::int32_t>::max(),
            "addend is out of range");
    fixup.addend = reader_.ok() ? static_cast<std::int32_t>(addend) : 0;
    fixup.offset = offset("offset");
    payload_.fixups.push_back(fixup);
}

void Decoder::unwind() {
    pairs(3);
    UnwindEntry entry;
    entry.end = offset("end");
    entry.info = offset("info");
    entry.begin = offset("begin");
    payload_.unwind.push_back(entry);
}

void Decoder::function() {
    static constexpr std::array<std::pair<std::string_view, Redirect>, 2> redirects{
        {{"short", Redirect::short_jump}, {"near", Redirect::near_jump}}};
    pairs(8);
    Function function;
    function.rva = offset("rva");
    function.name = text("name", longest_name);
    function.entry = offset("entry");
    function.length = offset("length");
    function.padding = bytes("padding");
    function.expected = bytes("expected");
    function.redirect = choice("redirect", redirects);
    function.overwrite = word("overwrite");
    payload_.functions.push_back(std::move(function));
}

const Section *Decoder::section_at(std::uint64_t begin, std::uint64_t end) const {
    const auto found = std::find_if(payload_.sections.begin(), payload_.sections.end(), [&](const Section &section) {
        return begin >= section.offset && begin < end && end <= section.offset + std::uint64_t{section.size};
    });
    return found == payload_.sections.end() ? nullptr : &*found;
}

bool Decoder::executable(std::uint64_t begin, std::uint64_t end) const {
    const Section *section = section_at(begin, end);
    return section != nullptr && section->protection == Protection::read_execute;
}

void Decoder::check_fixups() {
    std::uint64_t previous_end = 0;
    for (const Fixup &fixup : payload_.fixups) {
        const std::uint64_t end = fixup.offset + (fixup.kind == FixupKind::rel32 ? std::uint64_t{4} : std::uint64_t{8});
        const Section *section = section_at(fixup.offset, end);
        require(fixup.offset >= previous_end, "fixups are not sorted and apart");
        require(section != nullptr && end <= section->offset + std::uint64_t{section->data.size()},
                "a fixup is outside of any section's data");
        require(fixup.value < (fixup.base == FixupBase::target ? payload_.target.image_size : payload_.region_size),
                "a fixup's value is outside of its base");
        previous_end = end;
    }
}

void Decoder::check_unwind() {
    std::uint64_t previous_end = 0;
    for (const UnwindEntry &entry : payload_.unwind) {
        require(entry.begin >= previous_end && executable(entry.begin, entry.end),
                "an unwind entry is not sorted or not in executable code");
        require(entry.info % 4 == 0 && section_at(entry.info, entry.info + std::uint64_t{4}) != nullptr,
                "unwind information is outside of any section");
        previous_end = entry.end;
    }
}

void Decoder::check_redirect(const Function &function) {
    if (function.redirect == Redirect::short_jump) {
        require(function.rva % 2 == 0 && function.overwrite == 2, "a short redirection is not one aligned exchange of 2 bytes");
        require(is_padding(function.padding) && function.rva >= near_jump_size, "a short redirection has no padding of 5 bytes");
    } else {
        require(function.overwrite >= near_jump_size && function.overwrite <= longest_overwrite, "overwrite is out of range");
        require(function.padding.empty(), "a near redirection has padding");
    }
    require(function.overwrite <= function.length, "a function is shorter than what is overwritten");
}

void Decoder::check_functions() {
    require(!payload_.functions.empty(), "no function is replaced");
    std::uint64_t previous_end = 0;
    for (const Function &function : payload_.functions) {
        const std::uint64_t end = function.rva + std::uint64_t{function.length};
        require(!function.name.empty(), "a function has no name");
        require(function.rva >= previous_end + function.padding.size() && end <= payload_.target.image_size,
                "functions are not sorted, apart and inside the module");
        require(function.length > 0 && function.expected.size() == function.length,
                "a function's expected bytes are not its length");
        require(function.entry % entry_alignment == 0 && executable(function.entry, function.entry + std::uint64_t{1}),
                "a new function's entry is not aligned and executable");
        check_redirect(function);
        previous_end = end;
    }
}

Result<Payload> Decoder::decode() {
    static constexpr std::array<std::pair<std::string_view, Quiescence>, 2> levels{
        {{"entry", Quiescence::entry}, {"functions", Quiescence::functions}}};
    pairs(15);
    payload_.id = text("id", longest_id);
    require(is_id(payload_.id), "id is not of the documented form");
    for (std::size_t left = items("cves"); left > 0 && reader_.ok(); --left) {
        payload_.cves.push_back(line(longest_name));
    }
    payload_.title = text("title", longest_title);
    for (std::size_t left = items("fixups"); left > 0 && reader_.ok(); --left) {
        fixup();
    }
    number("format", any_number); // checked before
    region();
    target();
    for (std::size_t left = items("unwind"); left > 0 && reader_.ok(); --left) {
        unwind();
    }
    payload_.created = number("created", any_number);
    payload_.expires = number("expires", any_number);
    require(number("machine", largest_address) == machine_amd64, "machine is not 0x8664");
    for (std::size_t left = items("replaces"); left > 0 && reader_.ok(); --left) {
        payload_.replaces.push_back(line(longest_id));
        require(is_id(payload_.replaces.back()), "replaces holds what is not an id");
    }
    payload_.sequence = number("sequence", any_number);
    for (std::size_t left = items("functions"); left > 0 && reader_.ok(); --left) {
        function();
    }
    payload_.quiescence = choice("quiescence", levels);
    reader_.end();
    check_fixups();
    check_unwind();
    check_functions();
    if (!reader_.ok()) {
        return Error{Code::payload_malformed,
                     "The payload's content is not of the documented form" + (problem_.empty() ? std::string() : ": " + problem_),
                     {},
                     0};
    }
    return std::move(payload_);
}

// Walks over the whole content: is its encoding deterministic, and which format does it say it is? A later format may have other
// keys, and shall be called unsupported, not damaged.
Status check_format(cbor::View content) {
    const Error damaged{Code::payload_malformed, "The payload's content is not one deterministic CBOR map", {}, 0};
    cbor::Reader whole(content);
    whole.skip();
    whole.end();
    if (!whole.ok()) {
        return damaged;
    }
    cbor::Reader reader(content);
    for (std::size_t left = reader.map(); left > 0 && reader.ok(); --left) {
        if (reader.text() != "format") {
            reader.skip();
            continue;
        }
        const std::uint64_t format = reader.unsigned_integer();
        if (reader.ok() && format != supported_format) {
            return Error{Code::payload_format_unsupported,
                         "The payload has format " + std::to_string(format) + ", this agent knows 1",
                         {},
                         0};
        }
        return reader.ok() ? Status(Unit{}) : Status(damaged);
    }
    return damaged;
}

} // namespace

Result<Payload> decode_payload(std::span<const std::uint8_t> content) {
    if (const auto status = check_format(content); !status) {
        return status.error();
    }
    return Decoder(content).decode();
}

} // namespace hotpatch
