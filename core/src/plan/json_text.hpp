/// \file
/// Reading along wire bytes, which are valid JSON: nothing is checked, and nothing copied but text with escapes.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#ifdef __SSE2__
#include <emmintrin.h>

#include <bit>
#endif

namespace intilery::plan {

inline const char* skip_space(const char* at) {
  while (static_cast<unsigned char>(*at) <= ' ') ++at;  // between tokens there are no other control characters
  return at;
}

/// A JSON string, between its quotes.
struct Quoted {
  std::string_view raw;
  bool escaped;     ///< `raw` has escapes.
  const char* end;  ///< Past the quote.
};

/// Reads the string whose quote `at` points to.
inline Quoted read_string(const char* at, const char* end) {
  const char* const from = ++at;
  bool escaped = false;
  for (;;) {
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    while (end - at >= 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
      const int marks = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)));
      if (marks != 0) {
        at += std::countr_zero(static_cast<unsigned>(marks));
        break;
      }
      at += 16;
    }
#endif
    while (*at != '"' && *at != '\\') ++at;
    if (*at == '"') break;
    escaped = true;
    at += 2;
  }
  return {{from, static_cast<std::size_t>(at - from)}, escaped, at + 1};
}

/// The text of a string; in `scratch` if it has escapes.
std::string_view text_of(const Quoted& string, std::string& scratch);

/// Past the value that begins at `at`.
const char* skip_value(const char* at, const char* end);

/// Past the number, or the word, that begins at `at`.
inline const char* skip_number(const char* at, const char* end) {
  static constexpr std::array<bool, 256> inside = [] {
    std::array<bool, 256> table{};
    for (const char c : std::string_view("+-.0123456789Eeaflnrstu")) table[static_cast<unsigned char>(c)] = true;
    return table;
  }();
  while (at != end && inside[static_cast<unsigned char>(*at)]) ++at;
  return at;
}

/// The number of Unicode code points in UTF-8 text.
std::size_t count_code_points(std::string_view text);

/// Appends a form of the value that two values share if and only if JSON Schema calls them equal: numbers by value,
/// objects without regard to order. \returns past the value.
const char* append_canonical(const char* at, const char* end, std::string& out);

}  // namespace intilery::plan
