#include "suspicion.hpp"

#include <cstddef>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace intilery::node {

namespace {

constexpr std::size_t most_brackets = 64;

/// Whether one of the shapes begins at `at`. Called only where the block scan saw the first two characters of one.
bool shape_at(std::string_view json, std::size_t at) {
  const std::string_view rest = json.substr(at);
  const char before = at == 0 ? '\0' : json[at - 1];
  switch (rest.front()) {
    case '{':
      return rest.starts_with("{}");
    case '\\':
      return rest.starts_with("\\ud");
    case '"':
      return rest.starts_with("\"Buffer\"") || (before == '{' && rest.starts_with("\"0\""));
    case 'n':
      return (before == ':' || before == ',' || before == '[') && rest.starts_with("null");
    default:
      return false;
  }
}

bool scan_bytes(std::string_view json, std::size_t from, std::size_t& brackets) {
  for (std::size_t i = from; i < json.size(); ++i) {
    brackets += json[i] == '{' || json[i] == '[';
    if (shape_at(json, i)) return true;
  }
  return brackets > most_brackets;
}

}  // namespace

#if defined(__SSE2__)

bool is_suspicious(std::string_view json) {
  if (json == "null") return true;
  const auto all = [](char c) { return _mm_set1_epi8(c); };
  const __m128i open_brace = all('{'), close_brace = all('}'), open_bracket = all('['), zero = all('0'),
                backslash = all('\\'), u = all('u'), n = all('n'), quote = all('"'), b = all('B');
  __m128i counts = _mm_setzero_si128();
  std::size_t i = 0;
  for (; i + 17 <= json.size(); i += 16) {
    const auto load = [&](std::size_t at) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(json.data() + at));
    };
    const auto is = [](__m128i bytes, __m128i what) { return _mm_cmpeq_epi8(bytes, what); };
    const __m128i here = load(i), next = load(i + 1);
    const __m128i brace = is(here, open_brace), bracket = is(here, open_bracket);
    const __m128i found =
        _mm_or_si128(_mm_or_si128(_mm_and_si128(brace, is(next, close_brace)),
                                  _mm_and_si128(_mm_or_si128(is(here, backslash), is(here, n)), is(next, u))),
                     _mm_and_si128(is(here, quote), _mm_or_si128(is(next, b), is(next, zero))));
    auto mask = static_cast<unsigned>(_mm_movemask_epi8(found));
    for (; mask != 0; mask &= mask - 1) {
      if (shape_at(json, i + static_cast<std::size_t>(__builtin_ctz(mask)))) return true;
    }
    // Each match is a byte of -1; the sums of their absolute values lie in the two halves.
    const __m128i opened = _mm_sub_epi8(_mm_setzero_si128(), _mm_or_si128(brace, bracket));
    counts = _mm_add_epi64(counts, _mm_sad_epu8(opened, _mm_setzero_si128()));
  }
  std::size_t brackets = static_cast<std::size_t>(_mm_cvtsi128_si64(counts)) +
                         static_cast<std::size_t>(_mm_cvtsi128_si64(_mm_unpackhi_epi64(counts, counts)));
  return scan_bytes(json, i, brackets);
}

#else

bool is_suspicious(std::string_view json) {
  std::size_t brackets = 0;
  return json == "null" || scan_bytes(json, 0, brackets);
}

#endif

}  // namespace intilery::node
