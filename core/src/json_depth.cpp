#include "json_depth.hpp"

namespace intilery {

bool nests_too_deeply(std::string_view json) {
  int depth = 0;
  for (std::size_t at = 0; at < json.size(); ++at) {
    switch (json[at]) {
      case '{':
      case '[':
        if (++depth > deepest_json) return true;
        break;
      case '}':
      case ']':
        --depth;
        break;
      case '"':
        for (++at; at < json.size() && json[at] != '"'; ++at) {
          if (json[at] == '\\') ++at;
        }
        break;
      default:
        break;
    }
  }
  return false;
}

nlohmann::json parse_foreign(std::string_view json) {
  if (json.find('\0') != std::string_view::npos || nests_too_deeply(json)) return nlohmann::json::value_t::discarded;
  return nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
}

}  // namespace intilery
