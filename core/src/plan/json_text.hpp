/// \file
/// Reading along wire bytes, which are valid JSON: nothing is checked, and nothing copied but text with escapes.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace intilery::plan {

inline const char* skip_space(const char* at) {
  while (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t') ++at;
  return at;
}

/// A JSON string, between its quotes.
struct Quoted {
  std::string_view raw;
  bool escaped;     ///< `raw` has escapes.
  const char* end;  ///< Past the quote.
};

/// Reads the string whose quote `at` points to.
Quoted read_string(const char* at, const char* end);

/// The text of a string; in `scratch` if it has escapes.
std::string_view text_of(const Quoted& string, std::string& scratch);

/// Past the value that begins at `at`.
const char* skip_value(const char* at, const char* end);

/// Past the number that begins at `at`.
inline const char* skip_number(const char* at, const char* end) {
  while (at != end && *at != ',' && *at != '}' && *at != ']' && static_cast<unsigned char>(*at) > ' ') ++at;
  return at;
}

/// The number of Unicode code points in UTF-8 text.
std::size_t count_code_points(std::string_view text);

/// Appends a form of the value that two values share if and only if JSON Schema calls them equal: numbers by value,
/// objects without regard to order. \returns past the value.
const char* append_canonical(const char* at, const char* end, std::string& out);

}  // namespace intilery::plan
