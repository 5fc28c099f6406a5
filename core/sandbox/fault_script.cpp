#include "fault_script.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>

#include "json_depth.hpp"

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

std::chrono::milliseconds duration(const json& value, const std::string& place) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(number(value, place, 0, 3.6e6)));
}

std::string text(const json& value, const std::string& place) {
  if (!value.is_string()) refuse(place, "must be a string");
  return value.get<std::string>();
}

using Ending = Fault::Ending;

Ending close_ending(const json& value, const std::string& place) {
  static const std::map<std::string, Ending> endings{
      {"before", Ending::close_before},       {"during", Ending::close_during},
      {"reset_before", Ending::reset_before}, {"reset_during", Ending::reset_during},
      {"reset_after", Ending::reset_after},
  };
  const auto found = value.is_string() ? endings.find(value.get<std::string>()) : endings.end();
  if (found == endings.end())
    refuse(place, R"(must be "before", "during", "reset_before", "reset_during" or "reset_after")");
  return found->second;
}

bool is_before_body(const Fault& fault) {
  return fault.ending == Ending::reset_before || fault.ending == Ending::reset_during;
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
  json rules = parse_foreign(script);
  if (!rules.is_array()) throw std::invalid_argument("faults: the script must be a JSON array of rules");
  for (std::size_t i = 0; i < rules.size(); ++i) rules_.push_back(read_rule(rules[i], "rule " + std::to_string(i)));
  source_ = std::move(rules);
}

FaultScript::Rule FaultScript::read_rule(const json& source, const std::string& rule_name) {
  if (!source.is_object()) refuse(rule_name, "must be an object");
  Rule rule;
  bool effect = false;
  const auto end_with = [&](Ending ending, const std::string& place) {
    if (rule.fault.ending != Ending::answer)
      refuse(place, "does not go with another of close, garbage, hang, lost_ack");
    rule.fault.ending = ending;
  };
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
        rule.fault.delay = duration(value, place);
      } else if (key == "drip_ms") {
        rule.fault.drip = duration(value, place);
      } else if (key == "content_length") {
        rule.fault.content_length = count(value, place);
      } else if (key == "truncate") {
        rule.fault.truncate = count(value, place);
      } else if (key == "oversized") {
        rule.fault.oversized = count(value, place);
      } else if (key == "close") {
        end_with(close_ending(value, place), place);
      } else if (key == "garbage" || key == "hang" || key == "lost_ack") {
        if (value != true) refuse(place, "must be true");
        end_with(key == "garbage" ? Ending::garbage : key == "hang" ? Ending::hang : Ending::lost_ack, place);
      } else {
        refuse(place, "is not a member of a rule");
      }
    }
  }
  if (!effect) {
    refuse(rule_name,
           "has no effect: give status, delay_ms, drip_ms, content_length, truncate, oversized, close, garbage, hang "
           "or lost_ack");
  }
  if (is_before_body(rule.fault) && !rule.user_id.empty())
    refuse(rule_name + ", user_id", "cannot be known before the body is read");
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

std::optional<Fault> FaultScript::next_before_body(const std::string& action) {
  for (Rule& rule : rules_) {
    if (is_before_body(rule.fault) && applies(rule, action, {})) return rule.fault;
  }
  return std::nullopt;
}

std::optional<Fault> FaultScript::next(const std::string& action, const json& body, bool reads) {
  for (Rule& rule : rules_) {
    if (reads && rule.action.empty()) continue;
    if (!is_before_body(rule.fault) && applies(rule, action, body)) return rule.fault;
  }
  return std::nullopt;
}

}  // namespace intilery::testing
