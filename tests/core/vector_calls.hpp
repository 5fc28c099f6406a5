// The calls that a case of tests/vectors stands for (see its README).
#pragma once

#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>

#include "intilery/intilery.hpp"

namespace intilery {

using nlohmann::json;
using nlohmann::ordered_json;

/// A case that this language cannot write.
struct NotForCpp {};

json value_of(const ordered_json& given);

inline json special(const ordered_json& given) {
  const std::string kind = given.at("$");
  const auto text = [&] { return given.at("text").get<std::string>(); };
  if (kind == "nan") return std::nan("");
  if (kind == "infinity") return HUGE_VAL;
  if (kind == "-infinity") return -HUGE_VAL;
  if (kind == "double") return std::strtod(text().c_str(), nullptr);
  if (kind == "integer") {
    try {
      return text().front() == '-' ? json(std::stoll(text())) : json(std::stoull(text()));
    } catch (const std::out_of_range&) {
      throw NotForCpp{};
    }
  }
  if (kind == "cycle") throw NotForCpp{};
  if (kind == "surrogate") return "\xED\xA0\x80";
  if (kind == "text") {
    std::string repeated;
    for (std::size_t i = 0; i < given.at("times"); ++i) repeated += given.at("repeat").get<std::string>();
    return repeated;
  }
  if (kind == "nested") {
    json nested = json::array();
    for (std::size_t i = 1; i < given.at("levels"); ++i) nested = json::array({std::move(nested)});
    return nested;
  }
  throw NotForCpp{};
}

inline json value_of(const ordered_json& given) {
  if (given.is_object() && given.contains("$")) return special(given);
  if (given.is_object()) {
    json object = json::object();
    for (const auto& [key, value] : given.items()) object[key] = value_of(value);
    return object;
  }
  if (given.is_array()) {
    json array = json::array();
    for (const ordered_json& value : given) array.push_back(value_of(value));
    return array;
  }
  return given;
}

/// A call's argument that is text; what is absent in C++ is empty.
inline std::string text_of(const ordered_json& args, const char* field) {
  if (!args.contains(field)) return "";
  const json value = value_of(args.at(field));
  if (!value.is_string() || value == "") throw NotForCpp{};
  return value;
}

inline EventOptions options_of(const ordered_json& args) {
  EventOptions options;
  if (args.contains("context")) options.context = value_of(args.at("context"));
  options.anonymous_id = text_of(args, "anonymousId");
  options.message_id = text_of(args, "messageId");
  if (args.contains("timestamp")) {
    const ordered_json& moment = args.at("timestamp");
    if (!moment.is_object() || moment.value("$", "") != "instant") throw NotForCpp{};
    const std::int64_t ms = moment.at("ms");
    constexpr std::int64_t far = 9'200'000'000'000;  // a time_point counts nanoseconds, in 64 bits
    if (ms < -far || ms > far) throw NotForCpp{};
    options.timestamp = std::chrono::system_clock::time_point(std::chrono::milliseconds(ms));
  }
  return options;
}

/// Calls what the case says. Throws NotForCpp where the signature does not take the arguments.
inline Delivery call(Client& client, const std::string& name, const ordered_json& args) {
  const auto text = [&](const char* field) { return text_of(args, field); };
  const auto value = [&](const char* field) { return args.contains(field) ? value_of(args.at(field)) : json(); };

  if (name == "send") return client.send(value("message"));
  const EventOptions options = options_of(args);
  const std::string user = text("userId");
  if (name == "identify") return client.identify(user, value("traits"), options);
  if (name == "track") return client.track(user, text("event"), value("properties"), options);
  if (name == "page") return client.page(user, value("properties"), options);
  if (name == "screen") return client.screen(user, text("name"), value("properties"), options);
  if (name == "send_email") return client.send_email(user, text("assetId"), value("data"), options);
  if (name == "send_sms") return client.send_sms(user, text("assetId"), value("data"), options);
  if (name == "send_print") return client.send_print(user, text("assetId"), value("data"), options);
  if (name == "send_push") return client.send_push(user, text("assetId"), value("data"), options);
  if (name == "start_journey")
    return client.start_journey(user, text("journeyId"), text("stepId"), value("data"), options);
  throw std::invalid_argument("no call: " + name);
}

/// The clients that make the cases' calls: one for each set of options.
class VectorClients {
 public:
  /// \param watched whether a `before_send` looks on that changes nothing.
  VectorClients(std::string endpoint, bool watched) : endpoint_(std::move(endpoint)), watched_(watched) {}

  Client& with(const ordered_json& options) {
    std::unique_ptr<Client>& client = clients_[options.dump()];
    if (!client) {
      Options all{.client_id = "hea",
                  .account_id = "hea",
                  .brand_id = "HEA",
                  .auth_token = "sandbox-token",
                  .endpoint = endpoint_,
                  .delivery = DeliveryMode::event,
                  .rate_limit = 1e6,
                  .burst = 1e6};
      if (watched_) all.before_send = [](json message) { return message; };
      for (const auto& [name, value] : options.items()) set_option(all, name, value_of(value));
      client = std::make_unique<Client>(std::move(all));
    }
    return *client;
  }
  void close() {
    for (auto& [options, client] : clients_) client->close();
  }

 private:
  const std::string endpoint_;
  const bool watched_;
  std::map<std::string, std::unique_ptr<Client>> clients_;
};

}  // namespace intilery
