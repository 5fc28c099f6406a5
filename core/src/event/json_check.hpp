/// \file
/// JSON text from outside: checked once, never turned into a tree.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "event/json_writer.hpp"

namespace intilery::event {

/// A member of a JSON object: its key, unescaped, and its value's text.
struct JsonMember {
  std::string key;
  std::string_view value;
};

/// Checks one JSON text as RFC 8259 has it: syntax, UTF-8, no half surrogate pairs, at most `levels` of nesting.
/// Throws BadValue: `invalid_json`, `invalid_text` or `too_deep`.
/// \param members if not null and the text is an object, gets its members; views point into `text`.
void check_json(std::string_view text, std::vector<JsonMember>* members = nullptr, int levels = JsonWriter::max_depth);

/// The members of an object that is known to be right.
std::vector<JsonMember> members_of(std::string_view object);

/// Writes JSON text from outside after checking it.
void write_checked_json(JsonWriter& out, std::string_view text);

/// The kind of a JSON value, for an error: "an object", "text", "null" …
std::string_view kind_of(std::string_view json);

/// Whether a text is one JSON number.
bool is_number(std::string_view text);

/// The text of a JSON string, unescaped.
std::string unescape(std::string_view json_string);

std::string_view trim(std::string_view json);

}  // namespace intilery::event
