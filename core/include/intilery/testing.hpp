/// \file
/// A stand-in for the Intilery service, for tests: a real HTTP server on loopback that holds its callers to the
/// contract, remembers what arrived and can be told to misbehave; and a client whose events end in memory. Link
/// `intilery::testing`.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "intilery/client.hpp"
#include "intilery/export.hpp"
#include "intilery/options.hpp"

namespace intilery::testing {

/// Which reading of the contract the sandbox holds its callers to.
enum class Profile {
  /// The API guide: `identify`, `track`, `page`; 6,000,000 bytes a request; `timestamp` and `userId` required.
  guide,
  /// The vendor's later documentation: adds `screen`, `batch` and anonymous calls; 1,000,000 bytes a request,
  /// 32,000 bytes for one call inside a batch; `timestamp` optional.
  vendor,
};

/// How a sandbox is set up. Every field has a default that suits a test.
struct SandboxOptions {
  std::string host = "127.0.0.1";       ///< Address to bind. Off loopback, `token` must be one of your own.
  int port = 0;                         ///< 0: any free port; `Sandbox::url()` tells which.
  std::string token = "sandbox-token";  ///< The only `auth-token` that has rights.
  std::string client_id = "hea";
  std::string account_id = "hea";
  /// Brands the token has rights on.
  std::vector<std::string> brand_ids = {"HEA"};
  double rate_limit = 100;  ///< Requests a second; 0: no limit.
  double burst = 500;       ///< Capacity of the token bucket, which starts full.
  Profile profile = Profile::vendor;
  std::size_t max_request_bytes = 0;  ///< 0: what the profile says.
  /// Bound on the raw requests that are remembered, and another one on the events; the oldest go first, and with its
  /// last event a profile. 0: no bound.
  std::size_t max_stored_bytes = 0;
  /// A SQLite file that keeps accepted events; a sandbox that is given it again still has them. Empty: none.
  std::string store = {};
  /// How long after its arrival an event shows in the read API, as with a service that processes asynchronously.
  std::chrono::milliseconds visible_after{0};
  /// A tracking plan, the path of a JSON or YAML file: the page shows which events break it. They are accepted all the
  /// same, as the service does. Empty: none.
  std::string plan = {};
  /// Faults, a JSON array of rules; see `Sandbox::set_faults`.
  std::string faults = {};
};

/// One request as it arrived, with the answer that it got.
struct ReceivedRequest {
  std::int64_t received_ms = 0;  ///< Milliseconds since the Unix epoch.
  std::string method;
  std::string path;                                          ///< With the query.
  std::string action;                                        ///< Last segment of the path.
  std::vector<std::pair<std::string, std::string>> headers;  ///< Names in lower case; `auth-token` is redacted.
  std::string body;
  int status = 0;          ///< Answered status; 0: closed without an answer.
  std::string answer;      ///< Answered body.
  std::size_t events = 0;  ///< How many events of it were stored.
};

/// What became of an expectation: true if it was met.
struct Arrival {
  std::string event_json = {};  ///< The event that was expected; empty: there is none.
  std::string report = {};      ///< Why the expectation is not met, in lines for a person; empty: it is.
  explicit operator bool() const { return report.empty(); }
};

/// The sandbox. Starts in the constructor, stops in the destructor. Every member may be called from any thread.
///
/// Its URL, opened in a browser, is a page that shows live what arrives, and switches faults on and off.
class INTILERY_API Sandbox {
 public:
  /// Binds and serves on threads of its own.
  /// \throws std::invalid_argument for an option or a fault script that makes no sense (says which and why).
  /// \throws std::runtime_error if the address cannot be bound (says which).
  explicit Sandbox(SandboxOptions options = {});
  ~Sandbox();
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  /// `http://127.0.0.1:PORT`, to be given to a client as its `endpoint`.
  std::string url() const;
  int port() const;

  /// What a client of this sandbox needs.
  Options client_options() const;

  /// Stops serving. Open connections are closed; what was received stays readable. Idempotent.
  void stop();

  /// What arrived so far, oldest first.
  std::vector<ReceivedRequest> requests() const;

  /// Stored events in the order of their arrival, as a JSON array of the read API's event objects. With a
  /// `max_stored_bytes` only the latest. Those too that the read API does not show yet.
  std::string events_json() const;

  /// Number of events that were stored, with those that `max_stored_bytes` cost; cheap.
  std::size_t event_count() const;

  /// Waits for an event that has these members, by their names on the wire (`event`, `userId`, `properties`, also
  /// `action` and `brandId`). An object may have members more, an array must be as long, a number is compared by its
  /// value. Of several, it is the oldest.
  /// \throws std::invalid_argument unless `message` is an object.
  Arrival expect(const nlohmann::json& message, std::chrono::milliseconds timeout = std::chrono::seconds(5)) const;

  /// Whether no such event has arrived. It does not wait: flush the client first.
  Arrival expect_none(const nlohmann::json& message) const;

  /// The stored events that have these members, as `events_json`.
  std::string matching_json(const nlohmann::json& message) const;

  /// Counters as a JSON object: `requests` (by status), `events`, `bytes`, `bucket_level`.
  std::string stats_json() const;

  /// Forgets everything that was received and refills the bucket.
  void clear();

  /// Replaces the fault script: a JSON array of rules, tried in order for each POST, and for each GET if their
  /// `"action"` is `"events"` or `"profiles"`; the first that applies is used.
  /// Rule members, all optional but one of the effects:
  /// - which: `"action"` (`"track"`, `"batch"` …), `"user_id"` (a request that carries an event of that user),
  ///   `"after"` (skip so many matching requests first), `"times"` (apply so often; default: always),
  ///   `"probability"` (0 to 1, drawn from `"seed"`, default 1);
  /// - answer: `"status"` (answer it, storing nothing, with `"body"` and `"headers"` if given; with `"garbage": true`
  ///   the body is bytes that are no text). Without it the answer is the real one, and events are stored;
  /// - how the answer travels, with or without a status: `"delay_ms"` (wait before it), `"drip_ms"` (wait between its
  ///   bytes), `"content_length"` (declare this length instead of the true one), `"truncate"` (close after so many
  ///   bytes of the body), `"oversized"` (so many bytes more in the body);
  /// - no answer: `"close": "before"` (close without reading it as an event and without an answer),
  ///   `"close": "during"` (part of an answer, then close), `"close": "reset_before"`, `"reset_during"`,
  ///   `"reset_after"` (a TCP reset before the request's body is read, amid it, or behind it; the first two come before
  ///   all other rules and know no `"user_id"`), `"garbage": true` (bytes that are no HTTP),
  ///   `"hang": true` (neither an answer nor a close), `"lost_ack": true` (store the events, then close without an
  ///   answer).
  /// \throws std::invalid_argument naming the rule and the member that is wrong.
  void set_faults(const std::string& script);

  /// Replaces the token that has rights (to test a rotated token).
  void set_token(const std::string& token);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A client for unit tests: its events are checked, serialised, queued and delivered as always, but end in a list
/// instead of the network. Every request is answered at once.
class INTILERY_API MemoryClient : public Client {
 public:
  /// An account, and no pace nor backoff that a test would have to wait for.
  static Options default_options();

  /// \throws ConfigurationError naming the option.
  explicit MemoryClient(Options options = default_options(), Hooks hooks = {});
  static Client from_env(Hooks hooks = {}) = delete;  ///< It would send: give the constructor `Options::from_env()`.

  /// What was delivered, oldest first, as a JSON array of messages with their `action`. Flush first.
  std::string sent_json() const;

  /// Answers this HTTP status from now on, or `times` times; 0: as if no server could be reached.
  /// \param body if empty, one that the service would give.
  /// \throws std::invalid_argument for a status that is none.
  void answer(int status, std::optional<std::size_t> times = {}, std::string body = {});

  /// Forgets what was delivered, and answers with success again.
  void clear();

  /// Flushes, and says whether an event with these members was delivered; see `Sandbox::expect`.
  Arrival expect(const nlohmann::json& message, std::chrono::milliseconds timeout = std::chrono::seconds(5));
  /// Flushes, and says whether no such event was delivered.
  Arrival expect_none(const nlohmann::json& message, std::chrono::milliseconds timeout = std::chrono::seconds(5));
  /// Those of `sent_json` that have these members.
  std::string matching_json(const nlohmann::json& message) const;

 private:
  MemoryClient(Options options, Hooks hooks, std::shared_ptr<memory::Outbox> outbox);
  std::shared_ptr<memory::Outbox> outbox_;
};

}  // namespace intilery::testing
