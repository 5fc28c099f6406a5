#include "event/json_writer.hpp"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace intilery::event {

namespace {

constexpr auto digit_pairs = [] {
  std::array<std::array<char, 2>, 100> pairs{};
  for (unsigned i = 0; i < 100; ++i) pairs[i] = {static_cast<char>('0' + i / 10), static_cast<char>('0' + i % 10)};
  return pairs;
}();

char* write_integer(char* out, std::uint64_t value) {
  if (value < 10) {
    *out = static_cast<char>('0' + value);
    return out + 1;
  }
  if (value < 100) {
    std::memcpy(out, digit_pairs[value].data(), 2);
    return out + 2;
  }
  return std::to_chars(out, out + 20, value).ptr;
}

/// Writes a number of at most four decimals below 10^11 without looking for the shortest digits: as no two decimals of
/// up to 15 digits are the same double, the one that gives this double is the shortest. \returns null for any other.
char* write_short_decimal(char* out, double value) {
  constexpr double scale = 1e4;
  if (!(value < 1e11 && value >= 1e-4)) return nullptr;
  const auto scaled = static_cast<std::uint64_t>(static_cast<std::int64_t>(value * scale + 0.5));
  if (static_cast<double>(static_cast<std::int64_t>(scaled)) / scale != value) return nullptr;
  out = write_integer(out, scaled / 10'000);
  const std::uint64_t rest = scaled % 10'000;
  *out++ = '.';
  std::memcpy(out, digit_pairs[rest / 100].data(), 2);
  out += 2;
  if (rest % 100 != 0) {
    std::memcpy(out, digit_pairs[rest % 100].data(), 2);
    out += 2;
  }
  return out - (out[-1] == '0' ? 1 : 0);
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

char* JsonWriter::grow(char* at, std::size_t count) {
  const auto used = static_cast<std::size_t>(at - begin_.get());
  const std::size_t capacity = std::max(used + count, 2 * static_cast<std::size_t>(limit_ - begin_.get()));
  std::unique_ptr<char[]> wider(new char[capacity]);
  std::memcpy(wider.get(), begin_.get(), used);
  begin_ = std::move(wider);
  limit_ = begin_.get() + capacity;
  end_ = begin_.get() + used;
  return end_;
}

char* JsonWriter::integer(char* at, std::int64_t value) {
  if (value >= 0) return write_integer(at, static_cast<std::uint64_t>(value));
  *at = '-';
  return write_integer(at + 1, 0 - static_cast<std::uint64_t>(value));
}

char* JsonWriter::unsigned_integer(char* at, std::uint64_t value) { return write_integer(at, value); }

char* JsonWriter::number(char* at, double value) {
  if (!std::isfinite(value)) refuse_not_finite(value);
  constexpr double exact_integers = 9007199254740992.0;  // 2^53
  if (std::fabs(value) < exact_integers) {
    const auto whole = static_cast<std::int64_t>(value);
    if (static_cast<double>(whole) == value) return integer(at, whole);
  }
  if (value < 0) {
    *at++ = '-';
    value = -value;
  }
  if (char* const end = write_short_decimal(at, value)) return end;
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
  return lay_out(at, text.data(), count, exponent + 1);
}

char* JsonWriter::checked(char* at, std::string_view text) {
  if (!simdjson::validate_utf8(text.data(), text.size())) refuse_text();
  return trusted(at, text);
}

char* JsonWriter::escaped(char* at, std::string_view text) {
  constexpr std::string_view hex = "0123456789abcdef";
  const char* from = text.data();
  const char* const end = from + text.size();
  *at++ = '"';
  while (from != end) {
    const auto left = static_cast<std::size_t>(end - from);
    at = room(at, left + scan::block + small);
    const std::size_t plain = scan::copy_to_escape(at, from, left);
    at += plain;
    from += plain;
    if (from == end) break;
    const char c = *from++;
    *at++ = '\\';
    switch (c) {
      case '\b':
        *at++ = 'b';
        break;
      case '\t':
        *at++ = 't';
        break;
      case '\n':
        *at++ = 'n';
        break;
      case '\f':
        *at++ = 'f';
        break;
      case '\r':
        *at++ = 'r';
        break;
      case '"':
      case '\\':
        *at++ = c;
        break;
      default:
        at = four(at, "u00");
        at[-1] = hex[static_cast<unsigned char>(c) >> 4];
        *at++ = hex[c & 0xf];
    }
  }
  *at++ = '"';
  return at;
}

}  // namespace intilery::event
