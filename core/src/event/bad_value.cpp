#include "event/bad_value.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace intilery::event {

namespace {

bool is_plain(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
           c == '-';
  });
}

}  // namespace

void BadValue::under(std::string_view key) {
  std::string step;
  if (is_plain(key)) {
    step = key;
  } else {
    step = "[" + nlohmann::json(key).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "]";
  }
  if (!path.empty() && path.front() != '[') step += '.';
  path.insert(0, step);
}

void BadValue::at(std::size_t index) {
  std::string step = "[" + std::to_string(index) + "]";
  if (!path.empty() && path.front() != '[') step += '.';
  path.insert(0, step);
}

void refuse_not_finite(double value) {
  const char* what = std::isnan(value) ? "NaN" : "infinite";
  throw BadValue{"not_finite", std::string("is ") + what + ", which JSON cannot hold; leave it out or send null", ""};
}

void refuse_unsupported(std::string_view kind) {
  throw BadValue{"unsupported_type", "is a " + std::string(kind) + ", which has no JSON form; convert it first", ""};
}

void refuse_key(std::string_view kind) {
  throw BadValue{"invalid_key", "has a key that is a " + std::string(kind) + "; the keys of an object must be text",
                 ""};
}

void refuse_text() {
  throw BadValue{"invalid_text", "is not valid Unicode text (invalid UTF-8, or half of a surrogate pair)", ""};
}

void refuse_cycle() { throw BadValue{"cycle", "contains itself", ""}; }

void refuse_depth() { throw BadValue{"too_deep", "is nested deeper than 64 levels", ""}; }

void refuse_date() { throw BadValue{"invalid_date", "is an invalid date", ""}; }

void refuse_naive_timestamp() {
  throw BadValue{"naive_timestamp", "has no time zone, so the moment is unknown; give one (UTC, say)", ""};
}

void refuse_type(std::string_view expected, std::string_view met) {
  throw BadValue{"wrong_type", "must be " + std::string(expected) + ", not " + std::string(met), ""};
}

}  // namespace intilery::event
