#include "event/json_writer.hpp"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace intilery::event {

namespace {

/// How many bytes from `from` on need no escape, of those before `end`.
const char* skip_plain(const char* from, const char* end) {
#if defined(__SSE2__)
  const __m128i quote = _mm_set1_epi8('"');
  const __m128i backslash = _mm_set1_epi8('\\');
  const __m128i last_control = _mm_set1_epi8(0x1f);
  while (end - from >= 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    // min(byte, 0x1f) == byte holds for control characters only, bytes taken as unsigned.
    const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes);
    const __m128i special = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash));
    const int mask = _mm_movemask_epi8(_mm_or_si128(control, special));
    if (mask != 0) return from + __builtin_ctz(static_cast<unsigned>(mask));
    from += 16;
  }
#endif
  return std::find_if(from, end, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\'; });
}

bool is_ascii(std::string_view text) {
  std::size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + i, 8);
    if ((word & 0x8080808080808080U) != 0) return false;
  }
  for (; i < text.size(); ++i) {
    if (static_cast<unsigned char>(text[i]) >= 0x80) return false;
  }
  return true;
}

/// Lays out `digits` (without point) times 10^(point - count) as ECMAScript's Number::toString does.
char* lay_out(char* out, const char* digits, int count, int point) {
  if (point > 0 && point <= 21) {
    if (count <= point) {
      out = std::copy_n(digits, count, out);
      return std::fill_n(out, point - count, '0');
    }
    out = std::copy_n(digits, point, out);
    *out++ = '.';
    return std::copy(digits + point, digits + count, out);
  }
  if (point <= 0 && point > -6) {
    *out++ = '0';
    *out++ = '.';
    out = std::fill_n(out, -point, '0');
    return std::copy_n(digits, count, out);
  }
  *out++ = digits[0];
  if (count > 1) {
    *out++ = '.';
    out = std::copy(digits + 1, digits + count, out);
  }
  *out++ = 'e';
  const int exponent = point - 1;
  if (exponent >= 0) *out++ = '+';
  return std::to_chars(out, out + 5, exponent).ptr;
}

}  // namespace

JsonWriter::JsonWriter(std::size_t capacity)
    : begin_(new char[capacity]), end_(begin_.get()), limit_(begin_.get() + capacity) {}

void JsonWriter::grow(std::size_t count) {
  const std::size_t used = size();
  const std::size_t capacity = std::max(used + count, 2 * static_cast<std::size_t>(limit_ - begin_.get()));
  std::unique_ptr<char[]> wider(new char[capacity]);
  std::memcpy(wider.get(), begin_.get(), used);
  begin_ = std::move(wider);
  end_ = begin_.get() + used;
  limit_ = begin_.get() + capacity;
}

void JsonWriter::integer(std::int64_t value) {
  reserve(20);
  end_ = std::to_chars(end_, limit_, value).ptr;
}

void JsonWriter::unsigned_integer(std::uint64_t value) {
  reserve(20);
  end_ = std::to_chars(end_, limit_, value).ptr;
}

void JsonWriter::number(double value) {
  if (!std::isfinite(value)) refuse_not_finite(value);
  constexpr double exact_integers = 9007199254740992.0;  // 2^53
  if (std::fabs(value) < exact_integers && value == std::trunc(value)) {
    integer(static_cast<std::int64_t>(value));
    return;
  }
  reserve(32);
  if (value < 0) {
    *end_++ = '-';
    value = -value;
  }
  // Shortest digits, as d.ddde±dd.
  std::array<char, 32> text;
  char* last = std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::scientific).ptr;
  char* mark = std::find(text.data(), last, 'e');
  int exponent = 0;
  std::from_chars(mark[1] == '+' ? mark + 2 : mark + 1, last, exponent);
  int count = 1;
  if (mark > text.data() + 1) {
    count = static_cast<int>(mark - text.data()) - 1;
    std::memmove(text.data() + 1, text.data() + 2, static_cast<std::size_t>(count - 1));
  }
  end_ = lay_out(end_, text.data(), count, exponent + 1);
}

void JsonWriter::string(std::string_view text) {
  if (!is_ascii(text) && !simdjson::validate_utf8(text.data(), text.size())) refuse_text();
  trusted(text);
}

void JsonWriter::trusted(std::string_view text) {
  reserve(text.size() + 2);
  *end_++ = '"';
  const char* from = text.data();
  const char* const end = from + text.size();
  const char* const plain = skip_plain(from, end);
  append({from, static_cast<std::size_t>(plain - from)});
  if (plain != end) {
    escaped(plain, end);
  }
  put('"');
}

void JsonWriter::escaped(const char* from, const char* end) {
  constexpr std::string_view hex = "0123456789abcdef";
  while (from != end) {
    const char* plain = skip_plain(from, end);
    literal({from, static_cast<std::size_t>(plain - from)});
    from = plain;
    if (from == end) return;
    const char c = *from++;
    reserve(6);
    switch (c) {
      case '"':
        append("\\\"");
        break;
      case '\\':
        append("\\\\");
        break;
      case '\b':
        append("\\b");
        break;
      case '\t':
        append("\\t");
        break;
      case '\n':
        append("\\n");
        break;
      case '\f':
        append("\\f");
        break;
      case '\r':
        append("\\r");
        break;
      default:
        append("\\u00");
        *end_++ = hex[static_cast<unsigned char>(c) >> 4];
        *end_++ = hex[c & 0xf];
    }
  }
}

}  // namespace intilery::event
