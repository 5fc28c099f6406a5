#include "fault_script.hpp"

#include <algorithm>
#include <stdexcept>

namespace intilery::testing {

namespace {

using nlohmann::json;

[[noreturn]] void refuse(const std::string& place, const std::string& what) {
  throw std::invalid_argument("faults: " + place + " " + what);
}

double number(const json& value, const std::string& place, double least, double most) {
  if (!value.is_number() || value.get<double>() < least || value.get<double>() > most) {
    refuse(place, "must be a number from " + std::to_string(least) + " to " + std::to_string(most));
  }
  return value.get<double>();
}

std::uint64_t count(const json& value, const std::string& place) {
  if (!value.is_number_unsigned()) refuse(place, "must be a whole number, zero or more");
  return value.get<std::uint64_t>();
}

std::string text(const json& value, const std::string& place) {
  if (!value.is_string()) refuse(place, "must be a string");
  return value.get<std::string>();
}

bool carries(const json& body, const std::string& user_id) {
  if (!body.is_object()) return false;
  if (body.contains("batch") && body.at("batch").is_array()) {
    const json& batch = body.at("batch");
    return std::any_of(batch.begin(), batch.end(), [&](const json& item) { return carries(item, user_id); });
  }
  return body.contains("userId") && body.at("userId") == user_id;
}

}  // namespace

FaultScript::FaultScript(const std::string& script) {
  if (script.empty()) return;
  const json rules = json::parse(script, nullptr, /*allow_exceptions=*/false);
  if (!rules.is_array()) throw std::invalid_argument("faults: the script must be a JSON array of rules");
  for (std::size_t i = 0; i < rules.size(); ++i) rules_.push_back(read_rule(rules[i], "rule " + std::to_string(i)));
}

FaultScript::Rule FaultScript::read_rule(const json& source, const std::string& rule_name) {
  if (!source.is_object()) refuse(rule_name, "must be an object");
  Rule rule;
  bool effect = false;
  for (const auto& [key, value] : source.items()) {
    const std::string place = rule_name + ", " + key;
    if (key == "action") {
      rule.action = text(value, place);
    } else if (key == "user_id") {
      rule.user_id = text(value, place);
    } else if (key == "after") {
      rule.after = count(value, place);
    } else if (key == "times") {
      rule.times = count(value, place);
    } else if (key == "probability") {
      rule.probability = number(value, place, 0, 1);
    } else if (key == "seed") {
      rule.random.seed(count(value, place));
    } else if (key == "body") {
      rule.fault.body = value.is_string() ? value.get<std::string>() : value.dump();
    } else if (key == "headers") {
      if (!value.is_object()) refuse(place, "must be an object");
      for (const auto& [name, content] : value.items())
        rule.fault.headers.emplace_back(name, text(content, place + "." + name));
    } else {
      effect = true;
      if (key == "status") {
        rule.fault.status = static_cast<int>(number(value, place, 200, 599));
      } else if (key == "delay_ms") {
        rule.fault.delay = std::chrono::milliseconds(static_cast<std::int64_t>(number(value, place, 0, 3.6e6)));
      } else if (key == "close") {
        if (value != "before" && value != "during") refuse(place, "must be \"before\" or \"during\"");
        rule.fault.ending = value == "before" ? Fault::Ending::close_before : Fault::Ending::close_during;
      } else if (key == "garbage" && value == true) {
        rule.fault.ending = Fault::Ending::garbage;
      } else if (key == "lost_ack" && value == true) {
        rule.fault.ending = Fault::Ending::lost_ack;
      } else if (key == "garbage" || key == "lost_ack") {
        refuse(place, "must be true");
      } else {
        refuse(place, "is not a member of a rule");
      }
    }
  }
  if (!effect) refuse(rule_name, "has no effect: give status, delay_ms, close, garbage or lost_ack");
  return rule;
}

bool FaultScript::applies(Rule& rule, const std::string& action, const json& body) {
  if (!rule.action.empty() && rule.action != action) return false;
  if (!rule.user_id.empty() && !carries(body, rule.user_id)) return false;
  if (rule.after > 0) {
    --rule.after;
    return false;
  }
  if (rule.times && *rule.times == 0) return false;
  if (rule.probability < 1 && std::uniform_real_distribution<double>(0, 1)(rule.random) >= rule.probability)
    return false;
  if (rule.times) --*rule.times;
  return true;
}

std::optional<Fault> FaultScript::next(const std::string& action, const json& body) {
  for (Rule& rule : rules_) {
    if (applies(rule, action, body)) return rule.fault;
  }
  return std::nullopt;
}

}  // namespace intilery::testing
