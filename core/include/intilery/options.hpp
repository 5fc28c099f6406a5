/// \file
/// Everything that can be set on a client, each once. The Python keyword, the Node property, the environment variable
/// and the table in the documentation come from `option_list()`.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "intilery/export.hpp"

namespace intilery {

/// How events become requests.
enum class DeliveryMode {
  /// Single requests while the rate allows, batches under backlog; `event` for good if the server has no batch.
  automatic,
  event,  ///< One request an event, as the API guide says.
  batch,  ///< Always batches.
};

/// What happens to an event when the queue is full.
enum class OnFull {
  fail,         ///< Its delivery fails with QueueFullError; the call does not.
  raise,        ///< The call throws QueueFullError.
  block,        ///< The call waits, up to `block_timeout`, then as `raise`.
  drop_oldest,  ///< The events that wait longest make room; each one's delivery fails with QueueFullError.
};

/// What happens to a mistake in a call.
enum class OnInvalid {
  raise,   ///< The call throws ValidationError.
  report,  ///< The delivery fails with ValidationError; the call does not.
};

/// What happens to an event that was sent and never answered.
enum class OnUnknown {
  resend,  ///< It is sent again, with the same message id.
  check,   ///< After `check_delay` it is looked for among the events that can be read back, and sent again if it is not
           ///< there.
};

/// What an event in the spool survives once its call has returned.
enum class SpoolSync {
  process,  ///< The end of the process, `kill -9` included.
  power,    ///< A power cut too: one fsync, for many callers if they come together.
};

/// What happens to an event that breaks the tracking plan.
enum class PlanMode {
  warn,    ///< It is sent, counted in `Stats::plan_violations`, and logged once for each event name and rule.
  reject,  ///< It is a mistake in the call: ValidationError.
};

/// The settings of a client. An aggregate: `Options{.client_id = "hea", …}`. Times are `std::chrono`, sizes bytes.
struct Options {
  // Who is sending. All four are required.
  std::string client_id = {};
  std::string account_id = {};
  std::string brand_id = {};
  std::string auth_token = {};  ///< The shared secret. Shown nowhere.

  // Where to.
  std::string endpoint = "https://tracking.intilery.com";
  bool allow_insecure_http = false;  ///< Plain http to an address that is not loopback sends the token in clear.

  // Requests, and their pace.
  DeliveryMode delivery = DeliveryMode::automatic;
  double rate_limit = 100;  ///< The account's requests a second.
  double burst = 500;       ///< The account's burst: the capacity of its token bucket.
  /// A Redis URL, `redis://[user:password@]host[:port][/database]`: all clients with the same one share one bucket.
  std::string rate_limit_store = {};
  std::size_t max_request_bytes = 6'000'000;  ///< The guide's 6 MB in its smaller reading; some accounts have 1 MB.
  std::optional<std::size_t> max_event_bytes = {};  ///< One event; default `max_request_bytes`.
  std::optional<std::size_t> max_batch_bytes = {};  ///< One batch; default `max_request_bytes`.
  std::size_t flush_at = 500;                       ///< A batch may leave when so many events wait …
  std::chrono::milliseconds flush_interval{100};    ///< … or when the oldest has waited so long.

  // What waits.
  std::size_t max_queue_bytes = 64'000'000;  ///< Events that are not yet acknowledged.
  OnFull on_full = OnFull::fail;
  std::chrono::milliseconds block_timeout{10'000};
  OnInvalid on_invalid = OnInvalid::raise;

  // On disk.
  std::string spool_path = {};  ///< A folder. Events are written there before their call returns; see docs/spool.md.
  std::size_t spool_max_bytes = 1'000'000'000;  ///< Bound on this client's file there, and on the dead letters.
  SpoolSync spool_sync = SpoolSync::process;

  // Trouble.
  std::optional<std::size_t> max_retries = {};   ///< Default: no limit but `delivery_timeout`.
  std::chrono::milliseconds retry_initial{500};  ///< First backoff, with full jitter.
  std::chrono::milliseconds retry_max{30'000};   ///< Longest backoff, and the longest `Retry-After` obeyed.
  /// How long an event may fail, or find no server. Default: 5 minutes; with a spool, no limit.
  std::optional<std::chrono::milliseconds> delivery_timeout = {};
  OnUnknown on_unknown = OnUnknown::resend;
  std::chrono::milliseconds check_delay{5'000};  ///< With `check`: how long the service may take to show an event.

  // Connections.
  std::chrono::milliseconds request_timeout{15'000};
  std::chrono::milliseconds connect_timeout{5'000};
  std::size_t max_connections = 4;
  bool http2 = false;
  std::string proxy = {};
  std::string ca_file = {};
  std::string user_agent = {};  ///< Put before the client's own.

  // The end.
  std::chrono::milliseconds exit_timeout{5'000};  ///< How long the destructor, or the program's end, waits.

  // Events.
  nlohmann::json context = {};   ///< An object, merged under every event's own context.
  bool allow_anonymous = false;  ///< identify and track with an anonymous id only (the vendor's later documentation).

  // Which events there are; see docs/plans.md.
  nlohmann::json plan = {};  ///< The path of a tracking plan (JSON or YAML), or the plan itself, an object.
  PlanMode plan_mode = PlanMode::warn;

  // To look on.
  bool dry_run = false;  ///< Everything but sending: valid events are delivered with status 0 and no attempt.
  bool debug = false;    ///< Log each request and answer, with what the events hold, and never the token.

  /// Sees each message before it is checked, in the form that `Client::send` takes, with the members that the call
  /// gave, and returns what to send in its place, or nothing to drop it. Runs in the call, on its thread; may call the
  /// client. What it throws is the ErrorInfo::cause of a ValidationError, and the event is not sent. Not in
  /// `option_list()`: no text can hold it.
  std::function<std::optional<nlohmann::json>(nlohmann::json message)> before_send = {};

  /// Options from the environment: `INTILERY_CLIENT_ID` and so on, times in seconds.
  /// \throws ConfigurationError for a value that cannot be read; it names the variable, never the value.
  INTILERY_API static Options from_env();
};

/// One option, as every language and the documentation show it.
struct OptionInfo {
  std::string_view name;     ///< snake_case.
  std::string_view type;     ///< text, flag, integer, number, duration, choice, object, or path or object.
  std::string default_text;  ///< As a user would write it; "required", or "none".
  double minimum = 0;        ///< For integer, number and duration (in seconds).
  double maximum = 0;
  std::vector<std::string_view> choices;  ///< For choice.
  bool secret = false;
  std::string_view help;
};

/// The list of all options, in the order of `Options`.
INTILERY_API const std::vector<OptionInfo>& option_list();

/// How a language writes options.
struct OptionStyle {
  bool camel_case = false;                        ///< `flushAt` for `flush_at`.
  std::chrono::milliseconds duration_unit{1000};  ///< What a duration of 1 means.
};

/// Sets one option by name.
/// \param value JSON of the option's type; null leaves the default.
/// \throws ConfigurationError for an unknown name (with the nearest one), a wrong type or a value out of bounds.
INTILERY_API void set_option(Options& options, std::string_view name, const nlohmann::json& value,
                             const OptionStyle& style = {});

/// Checks what can only be seen on the whole: required options, their characters, the endpoint, sizes that contradict.
/// \throws ConfigurationError naming the option.
INTILERY_API void check_options(const Options& options, const OptionStyle& style = {});

}  // namespace intilery
