// JSON text from outside: what is accepted here nlohmann accepts and reads as the same value; what is written here
// reads back equal.
#include <simdjson.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "event/json_check.hpp"
#include "event/json_value.hpp"
#include "json_slices.hpp"
#include "target.hpp"

namespace intilery::fuzz {

using nlohmann::json;

namespace {

/// A handler that wants to know nothing but how deep it goes. A number that no double holds is one all the same.
struct Depth : nlohmann::json_sax<json> {
  int now = 0;
  int most = 0;
  bool open() {
    most = std::max(most, ++now);
    return true;
  }
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return open(); }
  bool key(string_t&) override { return true; }
  bool end_object() override { return now-- > 0; }
  bool start_array(std::size_t) override { return open(); }
  bool end_array() override { return now-- > 0; }
  bool huge = false;
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    huge = error.id == 406;
    return false;
  }
};

enum class Met { no, yes, huge_number };
Met nlohmann_says(std::string_view text, int& depth) {
  Depth handler;
  const bool good = json::sax_parse(text, &handler);
  depth = handler.most;
  return good ? Met::yes : handler.huge ? Met::huge_number : Met::no;
}

bool accepted(std::string_view text, std::vector<event::JsonMember>* members = nullptr, int levels = 64) {
  try {
    event::check_json(text, members, levels);
    return true;
  } catch (const event::BadValue& bad) {
    must(bad.code == "invalid_json" || bad.code == "invalid_text" || bad.code == "too_deep", "a code of the list");
    return false;
  }
}

void check_members(std::string_view text, const std::vector<event::JsonMember>& members) {
  const json value = json::parse(text, nullptr, false);
  if (value.is_discarded()) return;  // a huge number
  json last = json::object();
  for (const event::JsonMember& member : members) {
    must(member.value.data() >= text.data() && member.value.data() + member.value.size() <= text.data() + text.size(),
         "a member lies in its text");
    last[member.key] = json::parse(member.value);
  }
  must(last == value, "the members are the object");
  const auto slices = testing::members_of(text);
  must(slices.size() == members.size(), "there are as many slices");
  for (std::size_t i = 0; i < slices.size(); ++i) {
    must(slices[i].second == members[i].value, "and the same");
  }
}

void check_written(const json& value) {
  event::JsonWriter out(16);
  std::optional<std::string> refused;
  try {
    event::write_json(out, value);
  } catch (const event::BadValue& bad) {
    refused = bad.code;
  }
  if (refused) {
    must(*refused == "too_deep", "what was read can be written: " + *refused);
    return;
  }
  must(json::parse(out.view()) == value, "what is written reads back equal");
  must(accepted(out.view()), "and is accepted");
}

void check_number(double number) {
  event::JsonWriter out;
  if (!std::isfinite(number)) return;
  out.reserve(event::JsonWriter::small);
  out.set_end(event::JsonWriter::number(out.end(), number));
  must(event::is_number(out.view()), "a number is one");
  must(json::parse(out.view()).get<double>() == number, "and the same");
}

void check_text(std::string_view text) {
  const bool utf8 = simdjson::validate_utf8(text.data(), text.size());
  event::JsonWriter out(8);
  try {
    out.string(text);
    must(utf8, "text that is no UTF-8 is refused");
    must(json::parse(out.view()) == std::string(text), "text reads back equal");
    must(event::unescape(out.view()) == text, "here, too");
  } catch (const event::BadValue&) {
    must(!utf8, "UTF-8 is taken");
  }
}

}  // namespace

FUZZ_TARGET(json) {
  int depth = 0;
  const Met met = nlohmann_says(bytes, depth);
  // nlohmann skips a byte order mark, and takes a NUL for the end.
  const bool odd = bytes.starts_with("\xEF\xBB\xBF") || bytes.find('\0') != std::string_view::npos;
  const bool good = accepted(bytes);
  if (good) {
    must(!odd, "a byte order mark is no JSON, nor a NUL");
    must(met != Met::no, "what is accepted is JSON");
    must(depth <= 64, "and not too deep");
  } else {
    must(met != Met::yes || depth > 64 || odd, "what is JSON is accepted");
  }
  std::vector<event::JsonMember> members;
  must(accepted(bytes, &members) == good, "both ways of reading agree");
  const std::string_view trimmed = event::trim(bytes);
  if (good && trimmed.starts_with('{')) check_members(trimmed, members);
  if (good && trimmed.starts_with('[') && met == Met::yes) {
    const json value = json::parse(bytes);
    const auto elements = testing::elements_of(trimmed);
    must(elements.size() == value.size(), "there are as many elements");
    for (std::size_t i = 0; i < elements.size(); ++i) must(json::parse(elements[i]) == value[i], "and the same");
  }
  if (met == Met::yes && !odd) {
    check_written(json::parse(bytes));
    const bool number = json::parse(bytes).is_number();
    must(event::is_number(trimmed) == (number && !odd), "a number is known");
  }
  event::JsonWriter out;
  try {
    event::write_checked_json(out, bytes);
    must(good && out.view() == trimmed, "what is checked is written as it stands");
  } catch (const event::BadValue&) {
    must(!good, "what is accepted is written");
  }
  if (good && accepted(bytes, nullptr, 3)) must(depth <= 3, "a lower bound holds, too");
  check_text(bytes);
  for (Input numbers(bytes); !numbers.empty();) check_number(numbers.number<double>());
}

}  // namespace intilery::fuzz
