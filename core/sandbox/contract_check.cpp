#include "contract_check.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

#include "json_slices.hpp"
#include "wire_time.hpp"

namespace intilery::testing {

namespace {

using nlohmann::json;

[[noreturn]] void violate(std::string message) { throw Violation{std::move(message)}; }

bool has(const json& object, const char* key) { return object.contains(key) && !object.at(key).is_null(); }

/// \returns whether the field is there; if so it is text and not empty.
bool text_field(const json& object, const char* key, const std::string& path) {
  if (!has(object, key)) return false;
  const json& value = object.at(key);
  if (!value.is_string()) violate(path + " must be a string");
  if (value.get_ref<const std::string&>().empty()) violate(path + " must not be empty");
  return true;
}

void require_text(const json& object, const char* key, const std::string& path) {
  if (!text_field(object, key, path)) violate(path + " must not be empty");
}

void object_field(const json& object, const char* key) {
  if (object.contains(key) && !object.at(key).is_object()) violate(std::string(key) + " must be an object");
}

void check_time(const json& call, const char* key, bool required) {
  if (!call.contains(key)) {
    if (required) violate(std::string(key) + " must not be empty");
    return;
  }
  if (!call.at(key).is_string() || !parse_wire_time(call.at(key).get_ref<const std::string&>())) {
    violate(std::string(key) + " must be ISO-8601 UTC with milliseconds, such as 2019-11-18T13:30:11.444Z");
  }
}

void check_marketing_preferences(const json& traits) {
  if (!has(traits, "marketingPreferences")) return;
  const std::string path = "traits.marketingPreferences";
  const json& preferences = traits.at("marketingPreferences");
  if (!preferences.is_object()) violate(path + " must be an object");
  if (!preferences.contains("channels") || !preferences.at("channels").is_array()) {
    violate(path + ".channels must be an array");
  }
  static const std::set<std::string> channels{"email", "sms", "whatsapp", "facebook", "push"};
  std::size_t index = 0;
  for (const json& entry : preferences.at("channels")) {
    const std::string place = path + ".channels[" + std::to_string(index++) + "]";
    if (!entry.is_object()) violate(place + " must be an object");
    if (!entry.contains("channel") || !entry.at("channel").is_string() ||
        !channels.contains(entry.at("channel").get<std::string>())) {
      violate(place + ".channel must be one of email, sms, whatsapp, facebook, push");
    }
    if (!entry.contains("subscribed") || !entry.at("subscribed").is_boolean()) {
      violate(place + ".subscribed must be a boolean");
    }
  }
}

enum class Command { none, asset, journey };

Command command_of(const std::string& action, const json& call) {
  if (action != "track" || !call.contains("event") || !call.at("event").is_string()) return Command::none;
  std::string name = call.at("event").get<std::string>();
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (name == "send_email" || name == "send_sms" || name == "send_print" || name == "send_push") return Command::asset;
  return name == "start_journey" ? Command::journey : Command::none;
}

void check_fields(const std::string& action, const json& call) {
  std::set<std::string> known{"userId", "anonymousId", "event", "timestamp", "context", "messageId", "sentAt"};
  known.insert(action == "identify" ? "traits" : "properties");
  if (action == "screen") known.insert("name");
  for (const auto& [key, value] : call.items()) {
    if (!known.contains(key)) violate(key + " is not a field of " + action);
  }
}

void check(const std::string& action, const json& call, std::string_view raw, Profile profile, bool in_batch) {
  if (!call.is_object()) violate("the call must be an object");
  if (members_of(raw).size() != call.size()) violate("the call has a field twice");
  const Command command = command_of(action, call);

  const bool user = text_field(call, "userId", "userId");
  const bool anonymous = text_field(call, "anonymousId", "anonymousId");
  const bool anonymous_will_do = action == "page" || action == "screen" || profile == Profile::vendor;
  if (command != Command::none && !user) violate("userId must not be empty");
  if (!user && !(anonymous && anonymous_will_do)) {
    violate(anonymous_will_do ? "userId or anonymousId must not be empty" : "userId must not be empty");
  }
  if (action == "screen" && !in_batch) {
    text_field(call, "event", "event");
  } else {
    require_text(call, "event", "event");
  }
  if (action != "track" && has(call, "event") && call.at("event") != action)
    violate("event must be \"" + action + "\"");
  if (action == "identify") {
    if (!call.contains("traits") || !call.at("traits").is_object()) violate("traits must be an object");
    check_marketing_preferences(call.at("traits"));
  }
  if (action == "screen") text_field(call, "name", "name");
  if (command != Command::asset) object_field(call, "properties");
  object_field(call, "context");
  check_time(call, "timestamp", profile == Profile::guide);
  check_time(call, "sentAt", false);
  text_field(call, "messageId", "messageId");
  if (command == Command::asset) require_text(call, "assetId", "assetId");
  if (command == Command::journey) {
    if (!has(call, "properties")) violate("properties.journeyIdToTrigger must not be empty");
    require_text(call.at("properties"), "journeyIdToTrigger", "properties.journeyIdToTrigger");
    text_field(call.at("properties"), "stepIdToTrigger", "properties.stepIdToTrigger");
  }
  if (command == Command::none) check_fields(action, call);
}

}  // namespace

bool is_command(const std::string& action, const json& call) {
  return call.is_object() && command_of(action, call) != Command::none;
}

std::string action_of_item(const json& item) {
  constexpr std::array<const char*, 3> named{"identify", "page", "screen"};
  if (item.is_object() && item.contains("event")) {
    for (const char* name : named) {
      if (item.at("event") == name) return name;
    }
  }
  return "track";
}

std::optional<Violation> check_call(const std::string& action, const json& call, std::string_view raw, Profile profile,
                                    bool in_batch) {
  try {
    check(action, call, raw, profile, in_batch);
    return std::nullopt;
  } catch (Violation& violation) {
    return std::move(violation);
  }
}

}  // namespace intilery::testing
