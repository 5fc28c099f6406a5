/// \file
/// Copying text while looking for what JSON must escape.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace intilery::event::scan {

/// A copy may write this much more than it was asked for, before what follows is written over it.
constexpr std::size_t block = 16;

constexpr bool needs_escape(char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\'; }

#if defined(__SSE2__)

inline __m128i load(const char* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); }
inline void store(char* to, __m128i bytes) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes); }

/// A block of which only the first `size` bytes matter. Reads beyond them, but never into another page, which is safe
/// on the machine, though not in the language: hence no sanitizer looks.
#if defined(__GNUC__)
__attribute__((no_sanitize("address", "thread")))
#endif
inline __m128i
load_part(const char* from, std::size_t size) {
  constexpr std::uintptr_t page = 4096;
  if ((reinterpret_cast<std::uintptr_t>(from) & (page - 1)) <= page - block) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));  // `load` is looked at
  }
  char copy[block] = {};
  std::memcpy(copy, from, size);
  return load(copy);
}

/// The high bit of each byte that needs an escape; with `ascii`, of each that is not ASCII, too.
template <bool ascii>
inline __m128i special_in(__m128i bytes) {
  // min(byte, 0x1f) == byte holds for control characters only, bytes taken as unsigned.
  const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
  const __m128i escape =
      _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
  const __m128i special = _mm_or_si128(control, escape);
  return ascii ? _mm_or_si128(special, bytes) : special;
}

inline unsigned bits_of(__m128i bytes) { return static_cast<unsigned>(_mm_movemask_epi8(bytes)); }

/// Copies `size` bytes, and up to a block of what follows. False if one of them is special.
template <bool ascii>
inline bool copy_plain(char* to, const char* from, std::size_t size) {
  if (size <= block) {
    const __m128i bytes = load_part(from, size);
    store(to, bytes);
    return (bits_of(special_in<ascii>(bytes)) & ((1U << size) - 1)) == 0;
  }
  // The last block overlaps the one before.
  __m128i bytes = load(from + size - block);
  store(to + size - block, bytes);
  __m128i special = special_in<ascii>(bytes);
  for (std::size_t i = 0; i < size - block; i += block) {
    bytes = load(from + i);
    store(to + i, bytes);
    special = _mm_or_si128(special, special_in<ascii>(bytes));
  }
  return bits_of(special) == 0;
}

/// Copies up to the first byte that needs an escape. \returns how many bytes.
inline std::size_t copy_to_escape(char* to, const char* from, std::size_t size) {
  for (std::size_t i = 0; i < size; i += block) {
    const std::size_t left = size - i;
    const __m128i bytes = left >= block ? load(from + i) : load_part(from + i, left);
    store(to + i, bytes);
    if (const unsigned found = bits_of(special_in<false>(bytes))) {
      const std::size_t first = i + static_cast<std::size_t>(__builtin_ctz(found));
      return first < size ? first : size;
    }
  }
  return size;
}

#else

inline std::size_t copy_to_escape(char* to, const char* from, std::size_t size) {
  std::size_t i = 0;
  for (; i < size && !needs_escape(from[i]); ++i) to[i] = from[i];
  return i;
}

template <bool ascii>
inline bool copy_plain(char* to, const char* from, std::size_t size) {
  unsigned char high = 0;
  for (std::size_t i = 0; i < size; ++i) {
    if (needs_escape(from[i])) return false;
    high |= static_cast<unsigned char>(from[i]);
    to[i] = from[i];
  }
  return !ascii || high < 0x80;
}

#endif

}  // namespace intilery::event::scan
