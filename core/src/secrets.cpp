#include "secrets.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "printable.hpp"

namespace intilery {

namespace {

constexpr std::size_t longest_escape = 6;  // \u002f
constexpr std::string_view redacted = "[redacted]";

/// How many bytes of the text's beginning are this character: as it stands, escaped in JSON, and escaped in an address.
/// 0: it is not there so.
std::array<std::size_t, 3> spellings(std::string_view text, char character) {
  const auto coded = [&](std::string_view prefix, std::size_t digits) -> std::size_t {
    if (!text.starts_with(prefix) || text.size() < prefix.size() + digits) return 0;
    unsigned code = 0;
    const char* const from = text.data() + prefix.size();
    const bool whole = std::from_chars(from, from + digits, code, 16).ptr == from + digits;
    return whole && code == static_cast<unsigned char>(character) ? prefix.size() + digits : 0;
  };
  if (text.empty()) return {};
  const bool escaped = text[0] == '\\' && text.size() > 1 && text[1] == character;
  return {text[0] == character ? 1u : 0u, escaped ? 2 : coded("\\u", 4), coded("%", 2)};
}

/// How many bytes of the text's beginning are the token, however its characters are written.
std::size_t token_size(std::string_view text, std::string_view token) {
  if (token.empty()) return 0;
  for (const std::size_t size : spellings(text, token.front())) {
    if (size == 0) continue;
    if (token.size() == 1) return size;
    if (const std::size_t rest = token_size(text.substr(size), token.substr(1)); rest > 0) return size + rest;
  }
  return 0;
}

}  // namespace

void Secrets::add(std::string token) {
  if (std::find(tokens_.begin(), tokens_.end(), token) == tokens_.end()) tokens_.push_back(std::move(token));
}

std::string Secrets::hidden_in(std::string_view text, std::size_t limit) const {
  std::string out;
  for (std::size_t at = 0; at < std::min(text.size(), limit);) {
    if (const std::size_t secret = size_at(text.substr(at)); secret > 0) {
      out += redacted;
      at += secret;
    } else {
      out += text[at++];
    }
  }
  return out;
}

std::string Secrets::shown(std::string_view text, std::size_t limit) const {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (at >= limit) return out + "…";
    if (const std::size_t secret = size_at(text.substr(at)); secret > 0) {
      out += redacted;
      at += secret;
    } else {
      at += append_printable(out, text.substr(at));
    }
  }
  return out;
}

std::size_t Secrets::enough_for(std::size_t limit) const {
  std::size_t longest = 0;
  for (const std::string& token : tokens_) longest = std::max(longest, token.size());
  return limit + longest_escape * longest;
}

std::size_t Secrets::size_at(std::string_view text) const {
  std::size_t longest = 0;
  for (const std::string& token : tokens_) longest = std::max(longest, token_size(text, token));
  return longest;
}

}  // namespace intilery
