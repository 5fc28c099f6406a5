#include "expectation.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include "printable.hpp"

namespace intilery::testing {

namespace {

using nlohmann::json;

constexpr std::size_t longest_value = 200;  ///< Bytes shown of one value.
constexpr std::size_t most_listed = 20;     ///< Events.

std::string shown(const json& value) {
  const std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  return printable(text, longest_value) + (text.size() > longest_value ? "…" : "");
}

/// `1 event`, `2 events`.
std::string counted(std::size_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

struct Difference {
  std::string path;
  std::string text;
};

void compare(const json& expected, const json& arrived, const std::string& path, std::vector<Difference>& out) {
  const bool same_array = expected.is_array() && arrived.is_array() && expected.size() == arrived.size();
  if (same_array) {
    for (std::size_t i = 0; i < expected.size(); ++i) {
      compare(expected[i], arrived[i], path + "[" + std::to_string(i) + "]", out);
    }
  } else if (expected.is_object() && arrived.is_object()) {
    for (const auto& [name, value] : expected.items()) {
      const std::string inner = path.empty() ? name : path + "." + name;
      if (const auto found = arrived.find(name); found != arrived.end()) {
        compare(value, *found, inner, out);
        continue;
      }
      std::string there;
      for (const auto& member : arrived.items()) there += (there.empty() ? "" : ", ") + member.key();
      out.push_back({inner, "expected " + shown(value) + ", but it is not there" +
                                (there.empty() ? "" : " (there are " + printable(there, longest_value) + ")")});
    }
  } else if (expected != arrived) {
    out.push_back({path, "expected " + shown(expected) + ", arrived " + shown(arrived)});
  }
}

/// How far from what was expected: who and what weigh more than what was said of it.
std::size_t distance(const std::vector<Difference>& differences) {
  std::size_t sum = 0;
  for (const Difference& difference : differences) {
    const bool is_event = difference.path == "event" || difference.path == "action";
    sum += is_event ? 4 : difference.path == "userId" || difference.path == "anonymousId" ? 2 : 1;
  }
  return sum;
}

/// One line: `track "Order Completed" of "ABC/123" {"revenue":30.5}`.
std::string line_of(const json& message) {
  const std::string action = message.value("action", "");
  std::string line = action;
  if (const json& event = message.at("event"); event != action) line += " " + shown(event);
  for (const char* who : {"userId", "anonymousId"}) {
    if (message.contains(who)) line += " of " + shown(message.at(who));
  }
  for (const char* what : {"traits", "properties"}) {
    if (message.contains(what)) line += " " + shown(message.at(what));
  }
  return line;
}

/// The newest, each on a line with its number.
std::string listed(const std::vector<json>& messages) {
  std::string lines;
  const std::size_t hidden = messages.size() - std::min(messages.size(), most_listed);
  if (hidden > 0) lines += "\n  … " + std::to_string(hidden) + " before";
  for (std::size_t i = hidden; i < messages.size(); ++i) {
    lines += "\n  " + std::to_string(i + 1) + ". " + line_of(messages[i]);
  }
  return lines;
}

}  // namespace

json as_arrived(json message, std::string_view brand_id) {
  message["brandId"] = brand_id;
  if (!message.contains("event")) message["event"] = message.at("action");
  return message;
}

Expectation::Expectation(json message) : expected_(std::move(message)) {
  if (!expected_.is_object()) throw std::invalid_argument("what is expected must be an object, a message's members");
}

bool Expectation::matches(const json& arrived) const {
  std::vector<Difference> differences;
  compare(expected_, arrived, "", differences);
  return differences.empty();
}

std::string Expectation::nothing_matches(const std::vector<json>& arrived,
                                         const std::vector<std::string>& refused) const {
  std::string text = "no event arrived that matches " + shown(expected_) + "\n";
  text +=
      arrived.empty() ? "no event arrived at all" : counted(arrived.size(), "event") + " arrived:" + listed(arrived);
  if (!refused.empty()) {
    text += "\n" + counted(refused.size(), "request") + " got no success:";
    for (std::size_t i = refused.size() - std::min<std::size_t>(refused.size(), 5); i < refused.size(); ++i) {
      text += "\n  " + printable(refused[i], longest_value);
    }
  }
  std::size_t nearest = 0;
  std::size_t least = std::numeric_limits<std::size_t>::max();
  std::vector<Difference> differences;
  for (std::size_t i = 0; i < arrived.size(); ++i) {
    std::vector<Difference> found;
    compare(expected_, arrived[i], "", found);
    if (const std::size_t far = distance(found); far <= least) {  // of two as near, the newer
      least = far;
      nearest = i;
      differences = std::move(found);
    }
  }
  if (!arrived.empty()) text += "\nthe nearest is " + std::to_string(nearest + 1) + ":";
  for (const Difference& difference : differences) text += "\n  " + difference.path + ": " + difference.text;
  return text;
}

std::string Expectation::something_matches(const std::vector<json>& arrived) const {
  std::vector<json> matching;
  std::copy_if(arrived.begin(), arrived.end(), std::back_inserter(matching), [&](const json& m) { return matches(m); });
  if (matching.empty()) return "";
  return "no event should match " + shown(expected_) + ", but " + counted(matching.size(), "event") +
         (matching.size() == 1 ? " does:" : " do:") + listed(matching);
}

}  // namespace intilery::testing
