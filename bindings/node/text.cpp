#include "text.hpp"

#include <algorithm>
#include <cstdint>

namespace intilery::node {

namespace {

/// Buffers that one huge event made larger than this are given back.
constexpr std::size_t kept_units = 256 * 1024;
/// Room to begin with. V8 is faster if it need not look whether a text fits: if there is room for three bytes a unit.
constexpr std::size_t least_room = 16 * 1024;

bool is_high_surrogate(char16_t unit) { return (unit & 0xFC00) == 0xD800; }
bool is_low_surrogate(char16_t unit) { return (unit & 0xFC00) == 0xDC00; }

/// Writes UTF-16 as UTF-8. Half of a surrogate pair is written as three bytes of its own (WTF-8), which the core
/// refuses as `invalid_text`; Node-API's own conversion would put U+FFFD there in silence.
/// \param to has room for three bytes a unit.
/// \returns one past the last byte written.
char* write_utf8(std::u16string_view text, char* to) {
  const char16_t* from = text.data();
  const char16_t* const end = from + text.size();
  const auto put = [&to](std::uint32_t byte) { *to++ = static_cast<char>(byte); };
  while (from != end) {
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
  return to;
}

}  // namespace

bool may_hide_surrogate(std::string_view utf8) { return utf8.find("\xEF\xBF\xBD") != std::string_view::npos; }

void TextReader::clear() {
  used_ = 0;
  if (units_.size() > kept_units) std::vector<char16_t>().swap(units_);
  if (utf8_.size() > 4 * kept_units) std::vector<char>().swap(utf8_);
}

bool TextReader::read_json(napi_env env, napi_value value, Place& place) {
  if (utf8_.size() - used_ < least_room) utf8_.resize(used_ + least_room);
  const std::size_t room = utf8_.size() - used_;
  std::size_t size = 0;
  if (napi_get_value_string_utf8(env, value, utf8_.data() + used_, room, &size) != napi_ok) return false;
  if (size + 4 >= room) {  // full but for what a character may leave, so the text may have been cut
    napi_get_value_string_utf8(env, value, nullptr, 0, &size);
    utf8_.resize(used_ + size + 1);
    napi_get_value_string_utf8(env, value, utf8_.data() + used_, size + 1, &size);
  }
  place = {used_, size};
  used_ += size;
  return true;
}

bool TextReader::read(napi_env env, napi_value value, Place& place) {
  if (!read_json(env, value, place)) return false;
  if (!may_hide_surrogate(view(place))) return true;

  std::size_t length = 0;
  napi_get_value_string_utf16(env, value, nullptr, 0, &length);
  if (units_.size() <= length) units_.resize(length + 1);
  napi_get_value_string_utf16(env, value, units_.data(), units_.size(), &length);
  if (utf8_.size() < place.from + length * 3) utf8_.resize(place.from + length * 3);
  char* const from = utf8_.data() + place.from;
  place.size = static_cast<std::size_t>(write_utf8({units_.data(), length}, from) - from);
  used_ = place.from + place.size;
  return true;
}

}  // namespace intilery::node
