#include "text.hpp"

#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace intilery::node {

namespace {

/// Buffers that one huge event made larger than this are given back.
constexpr std::size_t kept_units = 256 * 1024;

#if defined(__SSE2__)
/// Copies ASCII, 16 units at a time, up to the first block with anything else. \returns the units copied.
std::size_t copy_ascii_blocks(const char16_t* from, std::size_t count, char* to) {
  const __m128i above_ascii = _mm_set1_epi16(static_cast<std::int16_t>(0xFF80));
  std::size_t done = 0;
  for (; done + 16 <= count; done += 16) {
    const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + done));
    const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + done + 8));
    const __m128i beyond = _mm_and_si128(_mm_or_si128(low, high), above_ascii);
    if (_mm_movemask_epi8(_mm_cmpeq_epi16(beyond, _mm_setzero_si128())) != 0xFFFF) break;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + done), _mm_packus_epi16(low, high));
  }
  return done;
}
#else
std::size_t copy_ascii_blocks(const char16_t*, std::size_t, char*) { return 0; }
#endif

bool is_high_surrogate(char16_t unit) { return (unit & 0xFC00) == 0xD800; }
bool is_low_surrogate(char16_t unit) { return (unit & 0xFC00) == 0xDC00; }

}  // namespace

char* write_utf8(std::u16string_view text, char* to) {
  const char16_t* from = text.data();
  const char16_t* const end = from + text.size();
  const auto put = [&to](std::uint32_t byte) { *to++ = static_cast<char>(byte); };
  while (from != end) {
    const std::size_t copied = copy_ascii_blocks(from, static_cast<std::size_t>(end - from), to);
    from += copied;
    to += copied;
    for (int left = 16; left > 0 && from != end; --left) {
      std::uint32_t code = *from++;
      if (code < 0x80) {
        put(code);
      } else if (code < 0x800) {
        put(0xC0 | code >> 6);
        put(0x80 | (code & 0x3F));
      } else if (is_high_surrogate(static_cast<char16_t>(code)) && from != end && is_low_surrogate(*from)) {
        code = 0x10000 + ((code - 0xD800) << 10) + (*from++ - 0xDC00u);
        put(0xF0 | code >> 18);
        put(0x80 | (code >> 12 & 0x3F));
        put(0x80 | (code >> 6 & 0x3F));
        put(0x80 | (code & 0x3F));
      } else {
        put(0xE0 | code >> 12);
        put(0x80 | (code >> 6 & 0x3F));
        put(0x80 | (code & 0x3F));
      }
    }
  }
  return to;
}

void TextReader::clear() {
  used_ = 0;
  if (units_.size() > kept_units) std::vector<char16_t>(4096).swap(units_);
  if (utf8_.size() > 4 * kept_units) std::vector<char>().swap(utf8_);
}

bool TextReader::read(napi_env env, napi_value value, Place& place) {
  std::size_t length = 0;
  if (napi_get_value_string_utf16(env, value, units_.data(), units_.size(), &length) != napi_ok) return false;
  if (length + 1 >= units_.size()) {
    // The buffer is full, so the text may have been cut. Asking for the length first would cost every call.
    napi_get_value_string_utf16(env, value, nullptr, 0, &length);
    units_.resize(length + 2);
    napi_get_value_string_utf16(env, value, units_.data(), units_.size(), &length);
  }
  const std::size_t room = used_ + length * 3 + 1;
  if (utf8_.size() < room) utf8_.resize(room + room / 2);
  char* const from = utf8_.data() + used_;
  place.from = used_;
  place.size = static_cast<std::size_t>(write_utf8({units_.data(), length}, from) - from);
  used_ += place.size;
  return true;
}

}  // namespace intilery::node
