#include "page.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "contract_check.hpp"
#include "event/contract.hpp"
#include "intilery/errors.hpp"
#include "intilery/version.hpp"
#include "json_depth.hpp"
#include "json_slices.hpp"
#include "page_files.hpp"
#include "percent.hpp"
#include "text.hpp"
#include "transport/loopback.hpp"

namespace intilery::testing {

namespace {

using nlohmann::json;
using transport::is_loopback;
using Clock = std::chrono::steady_clock;
using Log = std::vector<std::pair<std::uint64_t, std::shared_ptr<const ReceivedRequest>>>;  // newest first

constexpr std::size_t longest_list = 100;
constexpr std::size_t requests_looked_at = 20'000;
constexpr std::size_t bytes_looked_at = 64'000'000;
constexpr std::size_t bytes_parsed = 4'000'000;
constexpr std::size_t longest_body_shown = 200'000;

HttpAnswer answer(int status, const json& body) {
  return {.status = status, .headers = {}, .body = body.dump(-1, ' ', false, json::error_handler_t::replace)};
}

HttpAnswer refusal(int status, const std::string& message) { return answer(status, {{"message", message}}); }

HttpAnswer file(std::string_view text, std::string type) {
  return {.status = 200, .headers = {}, .body = std::string(text), .content_type = std::move(type)};
}

std::string parameter(const HttpRequest& request, const std::string& name) {
  const auto found = request.query.find(name);
  return found == request.query.end() ? std::string() : found->second;
}

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string text_in(const json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

struct Filter {
  std::string user, event, status;

  bool has(int answered) const {
    if (status.empty() || status == "plan") return true;
    const bool accepted = answered >= 200 && answered < 300;
    if (status == "accepted" || status == "refused") return accepted == (status == "accepted");
    return std::to_string(answered) == status;
  }
  /// Whether an event of the request may match, without parsing it.
  bool may_have(const ReceivedRequest& request) const {
    const auto holds = [&](const std::string& text) {
      if (text.empty()) return true;
      const std::string escaped = json(text).dump(-1, ' ', false, json::error_handler_t::replace);
      return request.body.find(escaped.substr(1, escaped.size() - 2)) != std::string::npos;
    };
    return has(request.status) && holds(user) && holds(event);
  }
  bool has(const json& call) const {
    if (status == "plan" && call.at("breaks").empty()) return false;
    return call.at("user").get_ref<const std::string&>().find(user) != std::string::npos &&
           call.at("event").get_ref<const std::string&>().find(event) != std::string::npos;
  }
};

/// The item texts of a batch.
std::vector<std::string_view> items_of(std::string_view body) {
  std::string_view batch;
  for (const auto& [key, value] : members_of(body)) {
    if (key == "batch") batch = value;  // of two, the last counts
  }
  return elements_of(batch);
}

/// How a call breaks the plan, with paths in the call itself.
json breaks(const plan::Guard& plan, const std::string& action, const json& call, std::string_view text) {
  std::string planned;
  const bool command = is_command(action, call);
  if (command) {
    json data = call;
    for (const char* own :
         {"userId", "anonymousId", "event", "timestamp", "context", "messageId", "sentAt", "assetId", "properties"}) {
      data.erase(own);
    }
    planned = data.dump();
  } else {
    for (const auto& [key, value] : members_of(text)) {
      if (key == (action == "identify" ? "traits" : "properties")) planned = value;
    }
  }
  json found = json::array();
  try {
    plan.check(event::action_named(action), command, text_in(call, "event"), planned);
  } catch (const ValidationError& error) {
    for (const intilery::Violation& violation : error.violations()) {
      std::string path = violation.path;
      if (path.starts_with("data.")) path.erase(0, 5);
      found.push_back({{"code", violation.code}, {"path", path}, {"message", violation.message}});
    }
  }
  return found;
}

/// The calls of a request as the page lists them, the last first.
std::vector<json> calls_of(std::uint64_t number, const ReceivedRequest& request, const plan::Guard* plan) {
  const json body = parse_foreign(request.body);
  const json answered = json::parse(request.answer, nullptr, /*allow_exceptions=*/false);
  const std::string why = request.status >= 300 ? text_in(answered, "message") : std::string();
  const auto call = [&](const json& given, const std::string& action, std::string_view text) {
    std::string user = text_in(given, "userId");
    if (user.empty()) user = text_in(given, "anonymousId");
    std::string event = text_in(given, "event");
    if (event.empty()) event = text_in(given, "name");
    return json{
        {"id", std::to_string(number)},
        {"request", number},
        {"item", nullptr},
        {"received", request.received_ms},
        {"action", action},
        {"event", std::move(event)},
        {"user", std::move(user)},
        {"status", request.status},
        {"why", why},
        {"breaks", plan != nullptr && given.is_object() && request.events > 0 ? breaks(*plan, action, given, text)
                                                                              : json::array()}};
  };
  const bool is_batch = request.action == "batch" && body.is_object() && body.contains("batch") &&
                        body.at("batch").is_array() && !body.at("batch").empty();
  if (!is_batch) return {call(body, request.action, request.body)};
  const std::vector<std::string_view> texts = items_of(request.body);
  std::vector<json> calls;
  const json& items = body.at("batch");
  for (std::size_t i = items.size(); i-- > 0;) {
    json made = call(items[i], action_of_item(items[i]), texts[i]);
    made["id"] = std::to_string(number) + "." + std::to_string(i);
    made["item"] = i;
    made["items"] = items.size();
    const std::string place = "batch[" + std::to_string(i) + "]";
    const bool another = why.starts_with("batch[") && !why.starts_with(place);
    if (another) made["why"] = "refused with its batch";
    calls.push_back(std::move(made));
  }
  return calls;
}

/// The newest calls that match.
json calls_in(const Log& log, const Filter& filter, const plan::Guard* plan, std::size_t& looked) {
  json calls = json::array();
  std::size_t searched = 0;
  std::size_t parsed = 0;
  for (const auto& [number, request] : log) {
    if (calls.size() >= longest_list || searched > bytes_looked_at || parsed > bytes_parsed) break;
    ++looked;
    searched += request->body.size();
    if (request->method != "POST" || !filter.may_have(*request)) continue;
    parsed += request->body.size();
    for (json& call : calls_of(number, *request, plan)) {
      if (calls.size() >= longest_list) break;
      if (filter.has(call)) calls.push_back(std::move(call));
    }
  }
  return calls;
}

/// The item's own text in a batch.
std::optional<std::string_view> item_of(std::string_view body, std::size_t item) {
  if (parse_foreign(body).is_discarded()) return std::nullopt;
  const std::vector<std::string_view> items = items_of(body);
  return item < items.size() ? std::optional(items[item]) : std::nullopt;
}

}  // namespace

bool same_secret(std::string_view a, std::string_view b) {
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = static_cast<unsigned char>(difference | (a[i] ^ b[b.empty() ? 0 : i % b.size()]));
  }
  return difference == 0 && !b.empty();
}

HttpAnswer Page::serve(const HttpRequest& request, int port) {
  HttpAnswer made = [&] {
    // A foreign page must neither read what arrived nor switch faults. (By a name of its own for this address it gets
    // no further than the sandbox's `serve`.)
    const std::string host = request.header("host");
    const std::string name = host.substr(0, host.rfind(':'));
    const std::string origin = request.header("origin");
    const std::string site = request.header("sec-fetch-site");
    if (is_loopback(state_.options.host) && !(is_loopback(name) && host == name + ":" + std::to_string(port))) {
      return refusal(421, "open the sandbox by its own address");
    }
    if ((!origin.empty() && origin != "http://" + host) || site == "cross-site" || site == "same-site") {
      return refusal(403, "another site's page has no business here");
    }
    const std::string& path = request.path;
    const bool post = path == "/sandbox/faults" || path == "/sandbox/clear";
    if (request.method != (post ? "POST" : "GET")) return refusal(405, "use " + std::string(post ? "POST" : "GET"));
    if (post && request.header("content-type") != "application/json") {
      return refusal(415, "content-type must be application/json");
    }
    if (path == "/") return file(page_html, "text/html; charset=utf-8");
    if (path == "/sandbox/page.css") return file(page_css, "text/css; charset=utf-8");
    if (path == "/sandbox/page.js") return file(page_js, "text/javascript; charset=utf-8");
    if (!is_allowed(request)) return refusal(403, "this needs the sandbox's token");
    if (path == "/sandbox/live") return live(request);
    if (path == "/sandbox/profiles") return profiles(request);
    if (path == "/sandbox/faults") return set_faults(request);
    if (path == "/sandbox/clear") return clear();
    constexpr std::string_view one_request = "/sandbox/requests/";
    constexpr std::string_view one_profile = "/sandbox/profiles/";
    if (path.starts_with(one_request)) return request_of(request, std::string_view(path).substr(one_request.size()));
    if (path.starts_with(one_profile))
      return profile(percent_decoded(std::string_view(path).substr(one_profile.size())));
    return refusal(404, "no such page");
  }();
  made.headers = {{"content-security-policy",
                   "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
                   "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
                  {"cross-origin-resource-policy", "same-origin"},
                  {"x-content-type-options", "nosniff"},
                  {"referrer-policy", "no-referrer"},
                  {"cache-control", "no-store"}};
  return made;
}

bool Page::is_allowed(const HttpRequest& request) const {
  if (is_loopback(state_.options.host)) return true;
  const std::lock_guard lock(state_.mutex);
  return same_secret(request.header("auth-token"), state_.options.token);
}

HttpAnswer Page::live(const HttpRequest& request) {
  json now;
  Log log;
  {
    const std::lock_guard lock(state_.mutex);
    const std::size_t count = std::min(state_.log.size(), requests_looked_at);
    log.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t place = state_.log.size() - 1 - i;
      log.emplace_back(state_.first_request + place, state_.log[place]);
    }
    json by_status = json::object();
    for (const auto& [status, n] : state_.requests_by_status) by_status[std::to_string(status)] = n;
    now = {{"version", INTILERY_VERSION},
           {"account",
            {{"client_id", state_.options.client_id},
             {"account_id", state_.options.account_id},
             {"brand_ids", state_.options.brand_ids}}},
           {"events", state_.store.count()},
           {"requests", std::move(by_status)},
           {"bytes", state_.bytes_received},
           {"bucket",
            {{"level", state_.bucket.level(Clock::now())},
             {"rate", state_.options.rate_limit},
             {"burst", state_.options.burst}}},
           {"faults", state_.faults.source()}};
  }
  std::size_t looked = 0;
  now["calls"] = calls_in(log, {parameter(request, "user"), parameter(request, "event"), parameter(request, "status")},
                          state_.plan.get(), looked);
  now["looked"] = looked;
  now["plan"] = state_.plan != nullptr;
  return answer(200, now);
}

HttpAnswer Page::request_of(const HttpRequest& request, std::string_view number) {
  std::shared_ptr<const ReceivedRequest> found;
  {
    const std::lock_guard lock(state_.mutex);
    const std::optional<std::uint64_t> wanted = number_in(number);
    if (wanted && *wanted >= state_.first_request && *wanted - state_.first_request < state_.log.size()) {
      found = state_.log[*wanted - state_.first_request];
    }
  }
  if (!found) return refusal(404, "this request is no longer kept");
  std::string_view body = found->body;
  if (const auto item = number_in(parameter(request, "item"))) body = item_of(body, *item).value_or(body);
  json headers = json::array();
  for (const auto& [name, value] : found->headers) headers.push_back({name, value});
  return answer(200, {{"method", found->method},
                      {"path", found->path},
                      {"headers", std::move(headers)},
                      {"body", body.substr(0, longest_body_shown)},
                      {"size", body.size()},
                      {"cut", body.size() > longest_body_shown},
                      {"status", found->status},
                      {"answer", found->answer}});
}

HttpAnswer Page::profiles(const HttpRequest& request) {
  const std::lock_guard lock(state_.mutex);
  return {.status = 200, .headers = {}, .body = state_.store.profiles_with(parameter(request, "search"), longest_list)};
}

HttpAnswer Page::profile(const std::string& user_id) {
  const std::lock_guard lock(state_.mutex);
  const std::optional<std::string> traits = state_.store.profile_traits("userId", user_id);
  if (!traits) return refusal(404, "no such profile");
  EventQuery newest;
  newest.size = longest_list;
  const json events = json::parse(*state_.store.profile_events("userId", user_id, newest));
  return answer(200, {{"traits", json::parse(*traits)},
                      {"meta", json::parse(*state_.store.profile_meta("userId", user_id))},
                      {"events", events.at("events")}});
}

HttpAnswer Page::set_faults(const HttpRequest& request) {
  try {
    FaultScript faults(request.body);
    const std::lock_guard lock(state_.mutex);
    state_.faults = std::move(faults);
    return answer(200, {{"faults", state_.faults.source()}});
  } catch (const std::invalid_argument& error) {
    return refusal(400, error.what());
  }
}

HttpAnswer Page::clear() {
  const std::lock_guard lock(state_.mutex);
  state_.forget();
  return answer(200, json::object());
}

}  // namespace intilery::testing
