#include "event/contract.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <nlohmann/json.hpp>
#include <string>

#include "event/json_check.hpp"
#include "nearest.hpp"

namespace intilery::event {

namespace {

constexpr std::array<std::string_view, 4> actions{"identify", "track", "page", "screen"};

template <std::size_t N>
bool contains(const std::array<std::string_view, N>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

const JsonMember* find(const std::vector<JsonMember>& members, std::string_view key) {
  const auto found = std::find_if(members.begin(), members.end(), [&](const JsonMember& m) { return m.key == key; });
  return found == members.end() ? nullptr : &*found;
}

std::string_view kind_of(const nlohmann::json& value) {
  return event::kind_of(value.is_number()    ? "0"
                        : value.is_null()    ? "null"
                        : value.is_boolean() ? "true"
                        : value.is_string()  ? "\""
                        : value.is_array()   ? "["
                                             : "{");
}

/// Runs `check` on the member `key` of `object`, which must be there; puts the key before the path of what it throws.
template <class Check>
void check_member(const nlohmann::json& object, std::string_view key, Check check) {
  under(key, [&] {
    const auto member = object.find(key);
    if (member == object.end()) throw BadValue{"required", "is required", ""};
    check(*member);
  });
}

void check_channel(const nlohmann::json& channel) {
  constexpr std::array<std::string_view, 5> channels{"email", "sms", "whatsapp", "facebook", "push"};
  if (!channel.is_object()) refuse_type("an object", kind_of(channel));
  check_member(channel, "channel", [&](const nlohmann::json& name) {
    if (!name.is_string()) refuse_type("text", kind_of(name));
    if (!contains(channels, name.get_ref<const std::string&>())) {
      throw BadValue{"invalid_value", "must be email, sms, whatsapp, facebook or push", ""};
    }
  });
  check_member(channel, "subscribed", [](const nlohmann::json& subscribed) {
    if (!subscribed.is_boolean()) refuse_type("true or false", kind_of(subscribed));
  });
}

}  // namespace

std::string_view name_of(Action action) { return actions[static_cast<std::size_t>(action)]; }

Action action_named(std::string_view name) {
  const auto found = std::find(actions.begin(), actions.end(), name);
  if (found == actions.end()) {
    throw BadValue{"unknown_action", "must be identify, track, page or screen" + did_you_mean(name, actions), ""};
  }
  return static_cast<Action>(found - actions.begin());
}

Draft::Command command_named(std::string_view event) {
  constexpr std::array<std::string_view, 4> asset_commands{"send_email", "send_sms", "send_print", "send_push"};
  constexpr std::string_view journey_command = "start_journey";
  if (event.size() < 8 || event.size() > journey_command.size() || (event[0] | 0x20) != 's')
    return Draft::Command::none;
  std::array<char, journey_command.size()> folded;
  std::transform(event.begin(), event.end(), folded.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const std::string_view name(folded.data(), event.size());
  if (contains(asset_commands, name)) return Draft::Command::asset;
  return name == journey_command ? Draft::Command::journey : Draft::Command::none;
}

std::span<const std::string_view> fields_of(Action action) {
  static constexpr std::array<std::string_view, 8> identify{"action", "userId",  "anonymousId", "event",
                                                            "traits", "context", "timestamp",   "messageId"};
  static constexpr std::array<std::string_view, 8> track{"action",     "userId",  "anonymousId", "event",
                                                         "properties", "context", "timestamp",   "messageId"};
  static constexpr std::array<std::string_view, 9> screen{"action",     "userId",  "anonymousId", "event",    "name",
                                                          "properties", "context", "timestamp",   "messageId"};
  switch (action) {
    case Action::identify:
      return identify;
    case Action::screen:
      return screen;
    default:
      return track;
  }
}

bool is_reserved(std::string_view field, Draft::Command command) {
  constexpr std::array<std::string_view, 8> reserved{"action",  "userId",    "anonymousId", "event",
                                                     "context", "timestamp", "messageId",   "sentAt"};
  return contains(reserved, field) || field == (command == Draft::Command::journey ? "properties" : "assetId");
}

void check_marketing_preferences(std::string_view traits) {
  constexpr std::string_view key = "marketingPreferences";
  if (traits.find(key) == std::string_view::npos) return;
  const std::vector<JsonMember> members = members_of(traits);
  const JsonMember* preferences = find(members, key);
  if (preferences == nullptr || preferences->value == "null") return;
  under(key, [&] {
    const nlohmann::json object = nlohmann::json::parse(preferences->value);
    if (!object.is_object()) refuse_type("an object", kind_of(object));
    check_member(object, "channels", [](const nlohmann::json& channels) {
      if (!channels.is_array()) refuse_type("an array", kind_of(channels));
      for (std::size_t i = 0; i < channels.size(); ++i) under(i, [&] { check_channel(channels[i]); });
    });
  });
}

void check_journey(std::string_view properties) {
  std::vector<JsonMember> members;
  if (!properties.empty()) members = members_of(properties);
  const auto check = [&](std::string_view key, bool required) {
    under(key, [&] {
      const JsonMember* id = find(members, key);
      if (id == nullptr || id->value == "null") {
        if (required) throw BadValue{"required", "is required", ""};
        return;
      }
      if (id->value.front() != '"') refuse_type("text", event::kind_of(id->value));
      if (id->value == "\"\"") throw BadValue{"empty", "must not be empty", ""};
    });
  };
  check("journeyIdToTrigger", true);
  check("stepIdToTrigger", false);
}

}  // namespace intilery::event
