#include "suspicion.hpp"

#include <cstddef>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace intilery::node {

namespace {

constexpr std::size_t most_brackets = 64;

/// Counts the brackets of a text and looks for the shapes.
class Look {
 public:
  explicit Look(std::string_view json) : json_(json) {}

  /// To be called for each place with an opening bracket, a backslash or "nu"; others do no harm.
  /// \returns whether the text is suspicious.
  bool at(std::size_t place) {
    const std::string_view rest = json_.substr(place);
    switch (rest.front()) {
      case '{':
        return ++brackets_ > most_brackets || rest.starts_with("{}") || rest.starts_with("{\"0\"") ||
               rest.starts_with("{\"type\":\"Buffer\"");
      case '[':
        return ++brackets_ > most_brackets;
      case '\\':
        return rest.starts_with("\\ud");
      case 'n': {
        const char before = place == 0 ? ':' : json_[place - 1];
        return (before == ':' || before == ',' || before == '[') && rest.starts_with("null");
      }
      default:
        return false;
    }
  }

 private:
  const std::string_view json_;
  std::size_t brackets_ = 0;
};

}  // namespace

bool is_suspicious(std::string_view json) {
  Look look(json);
  std::size_t place = 0;
#if defined(__SSE2__)
  const auto all = [](int c) { return _mm_set1_epi8(static_cast<char>(c)); };
  const auto load = [&](std::size_t at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(json.data() + at)); };
  const auto is = [](__m128i bytes, __m128i what) { return _mm_cmpeq_epi8(bytes, what); };
  const __m128i opening = all('{'), bit = all('{' ^ '['), backslash = all('\\'), n = all('n'), u = all('u');
  const auto found_at = [&](std::size_t at) {
    const __m128i here = load(at);
    const __m128i bracket = is(_mm_or_si128(here, bit), opening);
    const __m128i null = _mm_and_si128(is(here, n), is(load(at + 1), u));
    return static_cast<unsigned>(_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(bracket, null), is(here, backslash))));
  };
  const auto look_at = [&](std::size_t at, unsigned found) {
    for (; found != 0; found &= found - 1) {
      if (look.at(at + static_cast<std::size_t>(__builtin_ctz(found)))) return true;
    }
    return false;
  };
  constexpr std::size_t block = 16;
  if (json.size() > block) {
    const std::size_t last = json.size() - 1 - block;  // JSON's last byte begins nothing
    for (; place < last; place += block) {
      if (look_at(place, found_at(place))) return true;
    }
    return look_at(last, found_at(last) >> (place - last) << (place - last));
  }
#endif
  for (; place < json.size(); ++place) {
    if (look.at(place)) return true;
  }
  return false;
}

}  // namespace intilery::node
