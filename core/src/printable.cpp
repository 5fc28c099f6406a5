#include "printable.hpp"

#include <simdjson.h>

namespace intilery {

namespace {

bool is_harmless(std::string_view character) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(character[at]); };
  if (byte(0) < 0x80) return byte(0) >= 0x20 && byte(0) != 0x7f;
  if (!simdjson::validate_utf8(character.data(), character.size())) return false;
  if (byte(0) == 0xc2) return byte(1) >= 0xa0;  // U+0080 to U+009F
  if (byte(0) != 0xe2) return true;
  if (byte(1) == 0x80) return byte(2) < 0xa8 || byte(2) > 0xae;  // U+2028 to U+202E
  return byte(1) != 0x81 || byte(2) < 0xa6 || byte(2) > 0xa9;    // U+2066 to U+2069
}

}  // namespace

std::size_t append_printable(std::string& out, std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  const std::size_t length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  const std::string_view character = text.substr(0, length);
  if (is_harmless(character)) {
    out += character;
    return character.size();
  }
  constexpr std::string_view hex = "0123456789abcdef";
  out += {'\\', 'x', hex[first >> 4], hex[first & 0xf]};
  return 1;
}

std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  for (std::size_t at = 0; at < text.size() && at < limit;) at += append_printable(out, text.substr(at));
  return out;
}

}  // namespace intilery
