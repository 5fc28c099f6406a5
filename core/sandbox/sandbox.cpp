#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <deque>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>
#include <utility>

#include "contract_check.hpp"
#include "expectation.hpp"
#include "http_server.hpp"
#include "intilery/testing.hpp"
#include "json_depth.hpp"
#include "json_slices.hpp"
#include "page.hpp"
#include "percent.hpp"
#include "state.hpp"
#include "text.hpp"
#include "transport/loopback.hpp"
#include "wire_time.hpp"

namespace intilery::testing {

namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr std::size_t longest_batch_item = 32'000;
constexpr std::size_t paging_reach = 10'000;

struct Limits {
  std::size_t request_bytes;
  bool has_vendor_actions;
};

Limits limits_of(const SandboxOptions& options) {
  const bool vendor = options.profile == Profile::vendor;
  const std::size_t by_profile = vendor ? 1'000'000 : 6'000'000;
  return {options.max_request_bytes > 0 ? options.max_request_bytes : by_profile, vendor};
}

HttpAnswer answer(int status, const json& body) {
  return {.status = status, .headers = {}, .body = body.dump(-1, ' ', false, json::error_handler_t::replace)};
}

HttpAnswer refusal(int status, const std::string& message) {
  return answer(status, {{"success", false}, {"message", message}});
}

HttpAnswer not_found(const std::string& message) {
  return answer(404, {{"error", {{"code", "not_found"}, {"message", message}}}});
}

/// A request's address: `/track/{clientId}/{accountId}/{BRANDID}/v1/{rest…}`.
struct Address {
  std::string client_id, account_id, brand_id;
  std::vector<std::string> rest;
};

std::optional<Address> parse_address(const std::string& path) {
  std::vector<std::string> parts = split(path, '/');
  if (parts.size() < 7 || !parts[0].empty() || parts[1] != "track" || parts[5] != "v1") return std::nullopt;
  Address address{percent_decoded(parts[2]), percent_decoded(parts[3]), percent_decoded(parts[4]), {}};
  for (std::size_t i = 6; i < parts.size(); ++i) address.rest.push_back(percent_decoded(parts[i]));
  return address;
}

/// Reads a query's numbers and moments; a message says what is wrong.
struct BadQuery {
  std::string message;
};

EventQuery parse_query(const std::multimap<std::string, std::string>& given) {
  EventQuery query;
  const auto number = [](const std::string& name, const std::string& text, std::size_t least, std::size_t most) {
    std::size_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
      throw BadQuery{name + " must be a number from " + std::to_string(least) + " to " + std::to_string(most)};
    }
    return value;
  };
  for (const auto& [name, value] : given) {
    if (name == "include") {
      query.include = split(value, ',');
    } else if (name == "exclude") {
      query.exclude = split(value, ',');
    } else if (name == "start" || name == "end") {
      const std::optional<std::int64_t> moment = parse_wire_time(value);
      if (!moment) throw BadQuery{name + " must be ISO-8601 UTC with milliseconds"};
      (name == "start" ? query.start_ms : query.end_ms) = moment;
    } else if (name == "sort") {
      if (value != "asc" && value != "desc") throw BadQuery{"sort must be asc or desc"};
      query.ascending = value == "asc";
    } else if (name == "from") {
      query.from = number(name, value, 0, paging_reach);
    } else if (name == "size") {
      query.size = number(name, value, 1, 100);
    } else {
      throw BadQuery{name + " is not a parameter"};
    }
  }
  if (query.from + query.size > paging_reach) throw BadQuery{"from + size must not exceed 10000"};
  return query;
}

}  // namespace

struct Sandbox::Impl : State {
  explicit Impl(SandboxOptions given) : State(std::move(given)), limits(limits_of(options)) {
    if (options.token.empty()) throw std::invalid_argument("the sandbox's token must not be empty");
    if (options.rate_limit < 0 || options.burst < 1) {
      throw std::invalid_argument("rate_limit must not be negative, and burst at least 1");
    }
    if (!transport::is_loopback(options.host) && options.token == SandboxOptions().token) {
      throw std::invalid_argument("others can reach " + options.host +
                                  ": give the sandbox a token of your own (INTILERY_AUTH_TOKEN)");
    }
    if (options.visible_after.count() < 0) throw std::invalid_argument("visible_after must not be negative");
    if (options.port < 0 || options.port > 65'535) throw std::invalid_argument("port must be from 0 to 65535");
    server = std::make_unique<HttpServer>(
        options.host, options.port, [this](HttpRequest request) { return serve(std::move(request)); },
        [this](HttpRequest request) { return reset_early(std::move(request)); });
  }

  /// Whether a request to loopback asks for another host: a web page's, whose own name was made to point here. It knows
  /// the token, which is everybody's.
  bool is_misled(const HttpRequest& request) const {
    const std::string host = request.header("host");
    return transport::is_loopback(options.host) && !transport::is_loopback(host.substr(0, host.rfind(':')));
  }

  /// \returns the part of the body to read before the connection is reset, if it is to be.
  std::optional<double> reset_early(HttpRequest request) {
    if (request.method != "POST" || Page::is_at(request.path) || is_misled(request)) return std::nullopt;
    const std::int64_t received = wire_now();
    const std::optional<Address> address = parse_address(request.path);
    std::optional<Fault> fault;
    {
      const std::lock_guard lock(mutex);
      fault = faults.next_before_body(address ? address->rest.front() : std::string());
    }
    if (!fault) return std::nullopt;
    wait(fault->delay);
    remember(std::move(request), received);
    return fault->ending == Fault::Ending::reset_during ? 0.5 : 0;
  }

  HttpAnswer serve(HttpRequest request) {
    if (is_misled(request)) {
      return refusal(421,
                     "this sandbox answers to 127.0.0.1 and localhost only; to be reached by another name it needs "
                     "a host (0.0.0.0) and a token of its own");
    }
    if (Page::is_at(request.path)) return page.serve(request, server->port());
    const std::int64_t received = wire_now();
    std::size_t stored = 0;
    HttpAnswer made = handle(request, received, stored);
    const bool silent = made.ending != HttpAnswer::Ending::whole;
    remember(std::move(request), received, silent ? 0 : made.status, silent ? "" : made.body, stored);
    return made;
  }

  static std::size_t footprint(const ReceivedRequest& request) {
    std::size_t bytes = sizeof request + request.path.size() + request.body.size() + request.answer.size();
    for (const auto& header : request.headers) bytes += sizeof header + header.first.size() + header.second.size();
    return bytes;
  }

  void remember(HttpRequest request, std::int64_t received, int status = 0, std::string answer = {},
                std::size_t stored = 0) {
    ReceivedRequest seen;
    seen.received_ms = received;
    seen.method = std::move(request.method);
    seen.action = request.path.substr(request.path.rfind('/') + 1);
    seen.path = std::move(request.target);
    for (auto& [name, value] : request.headers) {
      seen.headers.emplace_back(name, name == "auth-token" ? "[redacted]" : std::move(value));
    }
    seen.body = std::move(request.body);
    seen.status = status;
    seen.answer = std::move(answer);
    seen.events = stored;
    const std::lock_guard lock(mutex);
    ++requests_by_status[seen.status];
    bytes_received += seen.body.size();
    if (seen.method != "POST") seen.answer.clear();  // pages of events are large, and known already
    stored_bytes += footprint(seen);
    log.push_back(std::make_shared<const ReceivedRequest>(std::move(seen)));
    while (options.max_stored_bytes > 0 && stored_bytes > options.max_stored_bytes && !log.empty()) {
      stored_bytes -= footprint(*log.front());
      log.pop_front();
      ++first_request;
    }
  }

  HttpAnswer handle(const HttpRequest& request, std::int64_t received, std::size_t& stored) {
    const std::optional<Address> address = parse_address(request.path);
    const std::string action = address ? address->rest.front() : std::string();
    const bool post = request.method == "POST";
    json body = json::value_t::discarded;
    if (post && request.body.size() <= limits.request_bytes) body = parse_foreign(request.body);

    std::optional<Fault> fault;
    {
      const std::lock_guard lock(mutex);
      fault = faults.next(action, body, /*reads=*/!post);
    }
    if (!fault) return gate(request, address, action, body, received, stored);
    wait(fault->delay);
    HttpAnswer made;
    if (fault->ending == Fault::Ending::close_during) {
      made = refusal(fault->status.value_or(503), "this answer is cut on the way");
    } else if (fault->status) {
      made = {.status = *fault->status, .headers = fault->headers, .body = fault->body};
      if (fault->ending == Fault::Ending::garbage) made.body = garbage_bytes;
    } else if (fault->ending == Fault::Ending::answer || fault->ending == Fault::Ending::lost_ack) {
      made = gate(request, address, action, body, received, stored);
    }
    made.ending = ending_of(*fault);
    made.declared_length = fault->content_length;
    made.cut_after = fault->truncate;
    made.padding = fault->oversized;
    made.drip = fault->drip;
    return made;
  }

  static HttpAnswer::Ending ending_of(const Fault& fault) {
    switch (fault.ending) {
      case Fault::Ending::answer:
        return HttpAnswer::Ending::whole;
      case Fault::Ending::close_before:
      case Fault::Ending::lost_ack:
        return HttpAnswer::Ending::nothing;
      case Fault::Ending::close_during:
        return HttpAnswer::Ending::part;
      case Fault::Ending::reset_before:
      case Fault::Ending::reset_during:
      case Fault::Ending::reset_after:
        return HttpAnswer::Ending::reset;
      case Fault::Ending::garbage:
        return fault.status ? HttpAnswer::Ending::whole : HttpAnswer::Ending::garbage;
      case Fault::Ending::hang:
        return HttpAnswer::Ending::hang;
    }
    return HttpAnswer::Ending::whole;
  }

  void wait(std::chrono::milliseconds delay) const {
    const Clock::time_point until = Clock::now() + delay;
    while (Clock::now() < until && !server->stopping()) {
      std::this_thread::sleep_for(std::min<Clock::duration>(until - Clock::now(), std::chrono::milliseconds(20)));
    }
  }

  /// The checks that come before the call itself, in the order of a gateway.
  HttpAnswer gate(const HttpRequest& request, const std::optional<Address>& address, const std::string& action,
                  const json& body, std::int64_t received, std::size_t& stored) {
    if (!address) return not_found("no such path; it is /track/{clientId}/{accountId}/{BRANDID}/v1/{action}");
    const bool reads = action == "events" || action == "profiles";
    if (!reads && (!is_action(action) || address->rest.size() > 1)) return not_found("no such action: " + action);
    if (request.method != (reads ? "GET" : "POST")) return refusal(405, "use " + std::string(reads ? "GET" : "POST"));

    const std::string token = request.header("auth-token");
    if (token.empty()) return answer(403, {{"message", "No Token Supplied"}});
    {
      const std::lock_guard lock(mutex);
      const bool brand =
          std::find(options.brand_ids.begin(), options.brand_ids.end(), address->brand_id) != options.brand_ids.end();
      if (!same_secret(token, options.token) || address->client_id != options.client_id ||
          address->account_id != options.account_id || !brand) {
        return answer(403, {{"message", "Token Not Authorised"}});
      }
      if (!bucket.take(Clock::now())) {
        HttpAnswer limited = answer(429, {{"message", "Limit Exceeded"}});
        limited.headers.emplace_back("retry-after", std::to_string(bucket.retry_after(Clock::now())));
        return limited;
      }
    }
    if (reads) return read(request, *address);
    if (request.body.size() > limits.request_bytes) return answer(413, {{"message", "Request Too Long"}});
    const std::string type = request.header("content-type");
    if (type.substr(0, type.find(';')) != "application/json")
      return refusal(400, "content-type must be application/json");
    if (body.is_discarded()) return refusal(400, "the body is not valid JSON");
    if (action == "batch") return accept_batch(request.body, body, *address, received, stored);
    return accept_call(action, request.body, body, *address, received, stored);
  }

  bool is_action(const std::string& action) const {
    if (action == "identify" || action == "track" || action == "page") return true;
    return limits.has_vendor_actions && (action == "screen" || action == "batch");
  }

  HttpAnswer accepted(const std::string& event_id) { return answer(200, {{"success", true}, {"eventId", event_id}}); }

  HttpAnswer accept_call(const std::string& action, std::string_view raw, const json& call, const Address& address,
                         std::int64_t received, std::size_t& stored) {
    if (const auto violation = check_call(action, call, raw, options.profile, false))
      return refusal(400, violation->message);
    const EventStore::Call made{action, address.brand_id, address.client_id, address.account_id, raw,
                                &call,  received,         random_uuid()};
    return accept_all({&made, 1}, made.event_id, stored);
  }

  HttpAnswer accept_all(std::span<const EventStore::Call> calls, const std::string& event_id, std::size_t& stored) {
    const std::lock_guard lock(mutex);
    try {
      accept(calls);
    } catch (const std::runtime_error& error) {  // a full disk
      return refusal(503, error.what());
    }
    stored = calls.size();
    return accepted(event_id);
  }

  HttpAnswer accept_batch(std::string_view raw, const json& body, const Address& address, std::int64_t received,
                          std::size_t& stored) {
    if (!body.is_object() || !body.contains("batch") || !body.at("batch").is_array())
      return refusal(400, "batch must be an array");
    const json& items = body.at("batch");
    if (items.empty()) return refusal(400, "batch must not be empty");
    for (const auto& [key, value] : body.items()) {
      if (key != "batch" && key != "context") return refusal(400, key + " is not a field of batch");
    }
    const bool has_context = body.contains("context");
    if (has_context && !body.at("context").is_object()) return refusal(400, "context must be an object");

    std::string_view array;
    for (const auto& [key, value] : members_of(raw)) {
      if (key == "batch") array = value;
    }
    const std::vector<std::string_view> slices = elements_of(array);
    std::vector<std::string> actions;
    for (std::size_t i = 0; i < slices.size(); ++i) {
      if (slices[i].size() > longest_batch_item)
        return answer(413, {{"message", "batch[" + std::to_string(i) + "] is larger than 32 KB"}});
      actions.push_back(action_of_item(items[i]));
      if (const auto violation = check_call(actions.back(), items[i], slices[i], options.profile, true)) {
        return refusal(400, "batch[" + std::to_string(i) + "]." + violation->message);
      }
    }
    std::deque<std::pair<json, std::string>> merged;  // items with the batch's context, as value and text
    std::vector<EventStore::Call> calls;
    for (std::size_t i = 0; i < slices.size(); ++i) {
      std::string_view raw_item = slices[i];
      const json* item = &items[i];
      if (has_context) {
        json made = items[i];
        json context = body.at("context");
        if (made.contains("context")) context.update(made.at("context"));
        made["context"] = std::move(context);
        std::string text = made.dump();
        const auto& [value, dumped] = merged.emplace_back(std::move(made), std::move(text));
        raw_item = dumped;
        item = &value;
      }
      calls.push_back({actions[i], address.brand_id, address.client_id, address.account_id, raw_item, item, received,
                       random_uuid()});
    }
    return accept_all(calls, random_uuid(), stored);
  }

  HttpAnswer read(const HttpRequest& request, const Address& address) {
    const std::lock_guard lock(mutex);
    const auto found = [](std::optional<std::string> body) {
      if (!body) return not_found("no such profile");
      return HttpAnswer{.status = 200, .headers = {}, .body = std::move(*body)};
    };
    try {
      if (address.rest.front() == "events" && address.rest.size() == 1)
        return found(store.page(parse_query(request.query)));
      if (address.rest.size() == 1) {
        const auto scroll = request.query.find("scrollId");
        const std::string text = scroll == request.query.end() ? "0" : scroll->second;
        std::size_t from = 0;
        if (std::from_chars(text.data(), text.data() + text.size(), from).ec != std::errc())
          throw BadQuery{"scrollId is unknown"};
        return found(store.profiles(from));
      }
      if (address.rest.size() != 3) return not_found("no such path");
      const std::string& who = address.rest[1];
      const std::string id_type = who.substr(0, who.find(':'));
      if (who.find(':') == std::string::npos || (id_type != "userId" && id_type != "email" && id_type != "id")) {
        return not_found("a profile is userId:ID, email:ID or id:ID");
      }
      const std::string id = who.substr(id_type.size() + 1);
      if (address.rest[2] == "traits") return found(store.profile_traits(id_type, id));
      if (address.rest[2] == "meta") return found(store.profile_meta(id_type, id));
      if (address.rest[2] == "events") return found(store.profile_events(id_type, id, parse_query(request.query)));
      return not_found("a profile has traits, events and meta");
    } catch (const BadQuery& bad) {
      return refusal(400, bad.message);
    }
  }

  /// An event as a test finds it. With the mutex held.
  json found(std::size_t place) const {
    json event = json::parse(store.text(place));
    return as_arrived(std::move(event.at("rawData")), event.at("brandId").get<std::string>());
  }
  std::vector<json> all_found() const {
    std::vector<json> list;
    for (std::size_t place = store.first(); place < store.count(); ++place) list.push_back(found(place));
    return list;
  }

  /// The requests without success, a line each. With the mutex held.
  std::vector<std::string> refused() const {
    std::vector<std::string> lines;
    for (const auto& request : log) {
      if (request->method != "POST" || (request->status >= 200 && request->status < 300)) continue;
      lines.push_back(request->action + ": " +
                      (request->status == 0 ? "no answer" : std::to_string(request->status) + " " + request->answer));
    }
    return lines;
  }

  const Limits limits;
  Page page{*this};
  std::unique_ptr<HttpServer> server;
};

Sandbox::Sandbox(SandboxOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
Sandbox::~Sandbox() = default;

std::string Sandbox::url() const { return "http://" + impl_->options.host + ":" + std::to_string(port()); }
int Sandbox::port() const { return impl_->server->port(); }
Options Sandbox::client_options() const {
  const std::lock_guard lock(impl_->mutex);
  const SandboxOptions& own = impl_->options;
  return {.client_id = own.client_id,
          .account_id = own.account_id,
          .brand_id = own.brand_ids.empty() ? "" : own.brand_ids.front(),
          .auth_token = own.token,
          .endpoint = url(),
          .rate_limit = own.rate_limit > 0 ? own.rate_limit : 1e6,
          .burst = own.rate_limit > 0 ? own.burst : 1e6};
}
void Sandbox::stop() { impl_->server->stop(); }

std::vector<ReceivedRequest> Sandbox::requests() const {
  const std::lock_guard lock(impl_->mutex);
  std::vector<ReceivedRequest> requests;
  requests.reserve(impl_->log.size());
  for (const auto& request : impl_->log) requests.push_back(*request);
  return requests;
}

std::string Sandbox::events_json() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->store.all();
}

Arrival Sandbox::expect(const json& message, std::chrono::milliseconds timeout) const {
  const Expectation expectation(message);
  const Clock::time_point deadline = Clock::now() + timeout;
  std::unique_lock lock(impl_->mutex);
  const EventStore& store = impl_->store;
  std::size_t seen = 0;
  std::uint64_t clears = impl_->clears;
  do {
    if (std::exchange(clears, impl_->clears) != impl_->clears) seen = 0;
    for (seen = std::max(seen, store.first()); seen < store.count(); ++seen) {
      if (expectation.matches(impl_->found(seen))) return {.event_json = store.text(seen)};
    }
  } while (impl_->arrived.wait_until(lock, deadline, [&] { return store.count() > seen || clears != impl_->clears; }));
  return {.report = expectation.nothing_matches(impl_->all_found(), impl_->refused())};
}

Arrival Sandbox::expect_none(const json& message) const {
  const Expectation expectation(message);
  const std::lock_guard lock(impl_->mutex);
  return {.report = expectation.something_matches(impl_->all_found())};
}

std::string Sandbox::matching_json(const json& message) const {
  const Expectation expectation(message);
  const std::lock_guard lock(impl_->mutex);
  std::string list;
  for (std::size_t place = impl_->store.first(); place < impl_->store.count(); ++place) {
    if (expectation.matches(impl_->found(place))) list += (list.empty() ? "" : ",") + impl_->store.text(place);
  }
  return "[" + list + "]";
}

std::size_t Sandbox::event_count() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->store.count();
}

std::string Sandbox::stats_json() const {
  const std::lock_guard lock(impl_->mutex);
  json by_status = json::object();
  for (const auto& [status, count] : impl_->requests_by_status) by_status[std::to_string(status)] = count;
  return json{{"requests", by_status},
              {"events", impl_->store.count()},
              {"bytes", impl_->bytes_received},
              {"bucket_level", impl_->bucket.level(Clock::now())}}
      .dump();
}

void Sandbox::clear() {
  const std::lock_guard lock(impl_->mutex);
  impl_->forget();
}

void Sandbox::set_faults(const std::string& script) {
  FaultScript faults(script);
  const std::lock_guard lock(impl_->mutex);
  impl_->faults = std::move(faults);
}

void Sandbox::set_token(const std::string& token) {
  if (token.empty()) throw std::invalid_argument("the sandbox's token must not be empty");
  const std::lock_guard lock(impl_->mutex);
  impl_->options.token = token;
}

}  // namespace intilery::testing
