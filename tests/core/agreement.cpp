// The C++ part of tests/python/agreement.py: makes the calls of a file of cases, and writes what became of each.
#include <chrono>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <vector>

#include "intilery/testing.hpp"
#include "vector_calls.hpp"

using namespace intilery;
using nlohmann::json;
using nlohmann::ordered_json;

namespace {

/// The value as JSON text, for what nlohmann::json does not hold: integers of any size, keys in an order of their own.
std::string raw_of(const ordered_json& given) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ",") + part; };
  if (given.is_number_float()) throw NotForCpp{};  // it would have to be in its shortest form
  if (given.is_object() && given.contains("$")) {
    if (given.at("$") == "integer") return given.at("text");
    if (given.at("$") == "text") return value_of(given).dump();
    if (given.at("$") != "map") throw NotForCpp{};
    for (const ordered_json& entry : given.at("entries")) add(entry.at(0).dump() + ":" + raw_of(entry.at(1)));
    return "{" + text + "}";
  }
  if (given.is_object()) {
    for (const auto& [key, value] : given.items()) add(ordered_json(key).dump() + ":" + raw_of(value));
    return "{" + text + "}";
  }
  if (given.is_array()) {
    for (const ordered_json& value : given) add(raw_of(value));
    return "[" + text + "]";
  }
  return given.dump();
}

/// Whether nlohmann::json holds something, so that it can be written as the others write it.
bool is_plain(const ordered_json& given) {
  if (given.is_object() && given.contains("$")) {
    if (given.at("$") == "map") return false;
    if (given.at("$") != "integer") return true;
    const std::string digits = given.at("text");
    return digits.size() < 19;
  }
  return !given.is_structured() || std::all_of(given.begin(), given.end(), is_plain);
}

Delivery call_either_way(Client& client, const ordered_json& test) {
  const std::string name = test.at("call");
  const ordered_json& args = test.at("args");
  const char* const body = name == "send" ? "message" : name == "identify" ? "traits" : "properties";
  if (!args.contains(body) || is_plain(args.at(body))) return call(client, name, args);
  const std::string text = raw_of(args.at(body));
  if (name == "send") return client.send(RawJson(text));
  EventOptions options = options_of(args);
  const std::string user = text_of(args, "userId");
  if (name == "identify") return client.identify(user, RawJson(text), options);
  if (name == "track") return client.track(user, text_of(args, "event"), RawJson(text), options);
  if (name == "page") return client.page(user, RawJson(text), options);
  if (name == "screen") return client.screen(user, text_of(args, "name"), RawJson(text), options);
  throw NotForCpp{};
}

}  // namespace

/// \param arguments the file of cases, and "before_send" if one is to look on that changes nothing.
int main(int count, char** arguments) {
  testing::Sandbox sandbox({.rate_limit = 0, .max_request_bytes = 100'000'000});
  VectorClients clients(sandbox.url(), count > 2);
  std::map<std::string, std::string> bodies;
  std::vector<json> results;
  std::ifstream file(arguments[1]);
  for (std::string line; std::getline(file, line);) {
    const ordered_json test = ordered_json::parse(line);
    Client& client = clients.with(test.at("options"));
    json result;
    try {
      result["id"] = call_either_way(client, test).message_id();
    } catch (const ValidationError& error) {
      result["refused"] = {error.code(), error.path(), error.what()};
    } catch (const NotForCpp&) {
    }
    results.push_back(std::move(result));
  }
  clients.close();
  for (const auto& request : sandbox.requests()) bodies[json::parse(request.body).at("messageId")] = request.body;
  for (json& result : results) {
    if (result.contains("id")) result = {{"wire", bodies.at(result.at("id"))}};
    std::cout << result << "\n";
  }
}
