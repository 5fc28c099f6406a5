#include "memory/outbox.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <stdexcept>
#include <utility>

#include "expectation.hpp"
#include "json_slices.hpp"

namespace intilery::memory {

namespace {

using nlohmann::json;
using testing::Arrival;
using testing::as_arrived;
using testing::Expectation;

/// The part of a path `/track/{clientId}/{accountId}/{BRANDID}/v1/{action}` that is so many from its end.
std::string part_from_end(std::string path, int place) {
  path.resize(std::min(path.size(), path.find('?')));
  for (; place > 0; --place) path.resize(path.rfind('/'));
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

Options default_options() {
  return {.client_id = "hea",
          .account_id = "hea",
          .brand_id = "HEA",
          .auth_token = "memory-token",
          .endpoint = "http://127.0.0.1",  // nothing goes there
          .delivery = DeliveryMode::event,
          .rate_limit = 1e6,
          .burst = 1e6,
          .retry_initial = std::chrono::milliseconds(1),
          .retry_max = std::chrono::milliseconds(10)};
}

/// Answers at once. Used by the client's I/O thread, but for `wake`.
class Outbox::Transport : public transport::Transport {
 public:
  explicit Transport(std::shared_ptr<Outbox> outbox) : outbox_(std::move(outbox)) {}

  void start(transport::Request request) override { ready_.push_back(outbox_->respond(request)); }
  std::vector<transport::Response> poll(std::chrono::milliseconds timeout) override {
    std::unique_lock lock(mutex_);
    if (ready_.empty()) changed_.wait_for(lock, timeout, [&] { return awake_; });
    awake_ = false;
    return std::exchange(ready_, {});
  }
  void wake() override {
    {
      const std::lock_guard lock(mutex_);
      awake_ = true;
    }
    changed_.notify_one();
  }
  void abandon() override { ready_.clear(); }
  void set_token(const std::string&) override {}

 private:
  const std::shared_ptr<Outbox> outbox_;
  std::vector<transport::Response> ready_;
  std::mutex mutex_;  ///< Guards `awake_`.
  std::condition_variable changed_;
  bool awake_ = false;
};

std::unique_ptr<transport::Transport> Outbox::transport(std::shared_ptr<Outbox> outbox) {
  return std::make_unique<Transport>(std::move(outbox));
}

void Outbox::answer(int status, std::optional<std::size_t> times, std::string body) {
  if (status != 0 && (status < 200 || status > 599)) {
    throw std::invalid_argument("status must be from 200 to 599, or 0 for no answer, not " + std::to_string(status));
  }
  const std::lock_guard lock(mutex_);
  status_ = status;
  body_ = std::move(body);
  times_ = times;
}

transport::Response Outbox::respond(const transport::Request& request) {
  const std::lock_guard lock(mutex_);
  transport::Response response;
  response.id = request.id;
  response.sent = true;
  const std::string action = part_from_end(request.path, 0);
  if (!request.post) {
    response.status = 404;
    response.body = R"({"error":{"code":"not_found","message":"a client in memory has nothing to read back"}})";
    return response;
  }
  response.status = 200;
  if (!times_ || *times_ > 0) {
    if (times_) --*times_;
    response.status = status_;
    response.body = body_;
  }
  if (response.status == 0) {
    response.failure = transport::Failure::unreachable;
    response.detail = "the test has it so";
    response.sent = false;
    refused_.push_back(action + ": no answer");
    return response;
  }
  if (response.status >= 300) {
    if (response.body.empty()) response.body = R"({"success":false,"message":"the test has it so"})";
    refused_.push_back(action + ": " + std::to_string(response.status) + " " + response.body);
    return response;
  }
  if (response.body.empty()) {
    char id[48];
    std::snprintf(id, sizeof id, "00000000-0000-4000-8000-%012zu", ++answers_);
    response.body = json{{"success", true}, {"eventId", id}}.dump();
  }
  std::string body;
  body.reserve(request.body_size);
  for (const std::string_view part : request.body) body += part;
  keep(action, part_from_end(request.path, 2), body);
  return response;
}

void Outbox::keep(const std::string& action, const std::string& brand_id, const std::string& body) {
  if (action == "batch") {
    for (const auto& [key, value] : testing::members_of(body)) {
      if (key != "batch") continue;
      for (const std::string_view item : testing::elements_of(value)) {
        const std::string name = json::parse(item).at("event");
        keep(name == "identify" || name == "page" || name == "screen" ? name : "track", brand_id, std::string(item));
      }
    }
    return;
  }
  std::string text = "{\"action\":\"" + action + "\"," + body.substr(1);
  json arrived = as_arrived(json::parse(text), brand_id);
  sent_.push_back({std::move(text), std::move(arrived)});
}

std::string Outbox::sent_json() const { return matching_json(json::object()); }

void Outbox::clear() {
  const std::lock_guard lock(mutex_);
  sent_.clear();
  refused_.clear();
  status_ = 200;
  body_.clear();
  times_.reset();
}

std::string Outbox::matching_json(const json& message) const {
  const Expectation expectation(message);
  const std::lock_guard lock(mutex_);
  std::string list;
  for (const Sent& sent : sent_) {
    if (expectation.matches(sent.arrived)) list += (list.empty() ? "" : ",") + sent.text;
  }
  return "[" + list + "]";
}

std::vector<json> Outbox::arrived() const {
  std::vector<json> list;
  for (const Sent& sent : sent_) list.push_back(sent.arrived);
  return list;
}

Arrival Outbox::expect(const json& message) const {
  const Expectation expectation(message);
  const std::lock_guard lock(mutex_);
  for (const Sent& sent : sent_) {
    if (expectation.matches(sent.arrived)) return {.event_json = sent.text};
  }
  return {.report = expectation.nothing_matches(arrived(), refused_)};
}

Arrival Outbox::expect_none(const json& message) const {
  const Expectation expectation(message);
  const std::lock_guard lock(mutex_);
  return {.report = expectation.something_matches(arrived())};
}

}  // namespace intilery::memory
