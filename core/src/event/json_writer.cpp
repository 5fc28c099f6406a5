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

constexpr std::size_t block = 16;

bool needs_escape(char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\'; }

#if defined(__SSE2__)
/// A block of which only the first `size` bytes matter. Reads beyond them, but never into another page, which is safe
/// on the machine, though not in the language: hence no sanitizer looks.
#if defined(__GNUC__)
__attribute__((no_sanitize("address", "thread")))
#endif
inline __m128i
load_block(const char* text, std::size_t size) {
  constexpr std::uintptr_t page = 4096;
  if (size >= block || (reinterpret_cast<std::uintptr_t>(text) & (page - 1)) <= page - block) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(text));
  }
  std::array<char, block> copy{};
  std::memcpy(copy.data(), text, size);
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(copy.data()));
}

/// A bit for each byte that needs an escape.
inline unsigned escapes_in(__m128i bytes) {
  // min(byte, 0x1f) == byte holds for control characters only, bytes taken as unsigned.
  const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
  const __m128i special =
      _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(control, special)));
}

/// Copies text up to the first byte that needs an escape. `to` has room for `block` bytes more.
/// \returns how many bytes were copied.
std::size_t copy_plain(char* to, const char* from, std::size_t size) {
  for (std::size_t i = 0; i < size; i += block) {
    const __m128i bytes = load_block(from + i, size - i);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), bytes);
    if (const unsigned found = escapes_in(bytes)) {
      return std::min(size, i + static_cast<std::size_t>(__builtin_ctz(found)));
    }
  }
  return size;
}
#else
std::size_t copy_plain(char* to, const char* from, std::size_t size) {
  return static_cast<std::size_t>(std::copy(from, std::find_if(from, from + size, needs_escape), to) - to);
}
#endif

/// Writes a number of at most four decimals below 10^11 without looking for the shortest digits: as no two decimals of
/// up to 15 digits are the same double, the one that gives this double is the shortest. \returns null for any other.
char* write_short_decimal(char* out, double value) {
  constexpr double scale = 1e4;
  if (!(value < 1e11 && value >= 1e-4)) return nullptr;
  auto scaled = static_cast<std::int64_t>(value * scale + 0.5);
  if (static_cast<double>(scaled) / scale != value) return nullptr;
  out = std::to_chars(out, out + 20, scaled / 10'000).ptr;
  auto rest = static_cast<int>(scaled % 10'000);
  *out++ = '.';
  for (int unit = 1'000; rest != 0; unit /= 10) {
    *out++ = static_cast<char>('0' + rest / unit);
    rest %= unit;
  }
  return out;
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
  if (char* const end = write_short_decimal(end_, value)) {
    end_ = end;
    return;
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
#if defined(__SSE2__)
  // Most texts are short, plain ASCII: copied and checked in one go.
  reserve(text.size() + 2 + block);
  char* to = end_ + 1;
  unsigned special = 0;
  for (std::size_t i = 0; i < text.size(); i += block) {
    const __m128i bytes = load_block(text.data() + i, text.size() - i);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i), bytes);
    const std::size_t left = text.size() - i;
    const unsigned mask = left >= block ? 0xffffU : (1U << left) - 1;
    special |= (escapes_in(bytes) | static_cast<unsigned>(_mm_movemask_epi8(bytes))) & mask;
  }
  if (special == 0) {
    *end_ = '"';
    end_ = to + text.size();
    *end_++ = '"';
    return;
  }
#endif
  if (!is_ascii(text) && !simdjson::validate_utf8(text.data(), text.size())) refuse_text();
  trusted(text);
}

void JsonWriter::trusted(std::string_view text) {
  reserve(text.size() + 2 + block);
  *end_++ = '"';
  const std::size_t plain = copy_plain(end_, text.data(), text.size());
  end_ += plain;
  if (plain != text.size()) escaped(text.data() + plain, text.data() + text.size());
  put('"');
}

void JsonWriter::escaped(const char* from, const char* end) {
  constexpr std::string_view hex = "0123456789abcdef";
  while (from != end) {
    const char* plain = std::find_if(from, end, needs_escape);
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
