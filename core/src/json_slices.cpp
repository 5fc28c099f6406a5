#include "json_slices.hpp"

#include <cstddef>

#include "event/json_check.hpp"

namespace intilery::testing {

namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view space = " \t\r\n";
  const std::size_t from = text.find_first_not_of(space);
  return from == std::string_view::npos ? std::string_view()
                                        : text.substr(from, text.find_last_not_of(space) - from + 1);
}

/// One past the closing quote of the string that begins at `at`.
std::size_t string_end(std::string_view text, std::size_t at) {
  for (++at; text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at + 1;
}

/// Splits the inside of a container at its own commas.
std::vector<std::string_view> split(std::string_view container) {
  const std::string_view text = trimmed(container);
  std::vector<std::string_view> parts;
  std::size_t from = 1;
  int depth = 0;
  for (std::size_t at = 1; at < text.size();) {
    const char c = text[at];
    if (c == '"') {
      at = string_end(text, at);
      continue;
    }
    const bool last = at + 1 == text.size();
    if (depth == 0 && (c == ',' || last)) {
      const std::string_view part = trimmed(text.substr(from, at - from));
      if (!part.empty()) parts.push_back(part);
      from = at + 1;
    }
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    ++at;
  }
  return parts;
}

}  // namespace

std::vector<std::pair<std::string, std::string_view>> members_of(std::string_view object) {
  std::vector<std::pair<std::string, std::string_view>> members;
  for (const std::string_view part : split(object)) {
    const std::size_t end = string_end(part, 0);
    const std::string_view rest = part.substr(end);
    members.emplace_back(event::unescape(part.substr(0, end)), trimmed(rest.substr(rest.find(':') + 1)));
  }
  return members;
}

std::vector<std::string_view> elements_of(std::string_view array) { return split(array); }

}  // namespace intilery::testing
