#include "intilery/options.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <type_traits>
#include <variant>

#include "intilery/errors.hpp"
#include "nearest.hpp"
#include "option_name.hpp"
#include "transport/loopback.hpp"

namespace intilery {

namespace {

using std::chrono::milliseconds;

/// Where an option lives. The kind of the member is the option's type.
using Member = std::variant<std::string Options::*, bool Options::*, double Options::*, std::size_t Options::*,
                            std::optional<std::size_t> Options::*, milliseconds Options::*, nlohmann::json Options::*,
                            std::optional<milliseconds> Options::*, DeliveryMode Options::*, OnFull Options::*,
                            OnInvalid Options::*, OnUnknown Options::*, SpoolSync Options::*, PlanMode Options::*>;

struct Declaration {
  std::string_view name;
  Member member;
  std::string_view help;
  double minimum = 0;
  double maximum = 0;
  bool required = false;
  bool secret = false;
  bool or_path = false;  ///< An object that may stand in a file.
};

constexpr double gigabyte = 1e9;
constexpr double day = 86'400;  // durations are bounded in seconds

/// The names of a choice's values, in their order.
template <class Choice>
constexpr std::array<std::string_view, 0> names_of{};
template <>
constexpr std::array<std::string_view, 3> names_of<DeliveryMode>{"auto", "event", "batch"};
template <>
constexpr std::array<std::string_view, 4> names_of<OnFull>{"fail", "raise", "block", "drop_oldest"};
template <>
constexpr std::array<std::string_view, 2> names_of<OnInvalid>{"raise", "report"};
template <>
constexpr std::array<std::string_view, 2> names_of<OnUnknown>{"resend", "check"};
template <>
constexpr std::array<std::string_view, 2> names_of<PlanMode>{"warn", "reject"};
template <>
constexpr std::array<std::string_view, 2> names_of<SpoolSync>{"process", "power"};

/// The single list of options, in the order of `Options`, whose members hold the defaults.
const std::vector<Declaration>& declarations() {
  static const std::vector<Declaration> list{
      {.name = "client_id",
       .member = &Options::client_id,
       .help = "The client's id in the service's address.",
       .required = true},
      {.name = "account_id",
       .member = &Options::account_id,
       .help = "The account's id in the service's address.",
       .required = true},
      {.name = "brand_id",
       .member = &Options::brand_id,
       .help = "The brand's id in the service's address.",
       .required = true},
      {.name = "auth_token",
       .member = &Options::auth_token,
       .help = "The shared secret. Shown nowhere.",
       .required = true,
       .secret = true},
      {.name = "endpoint", .member = &Options::endpoint, .help = "Where the service is."},
      {.name = "allow_insecure_http",
       .member = &Options::allow_insecure_http,
       .help = "Allow plain http to an address that is not loopback."},
      {.name = "delivery",
       .member = &Options::delivery,
       .help = "event: one request an event. batch: always batches. auto: single requests while the rate allows, "
               "batches under backlog."},
      {.name = "rate_limit",
       .member = &Options::rate_limit,
       .help = "The account's requests a second.",
       .minimum = 0.01,
       .maximum = 1e9},
      {.name = "burst",
       .member = &Options::burst,
       .help = "The account's burst of requests.",
       .minimum = 1,
       .maximum = 1e9},
      {.name = "rate_limit_store",
       .member = &Options::rate_limit_store,
       .help = "A Redis URL: all clients of the account that have it share one exact bucket. Shown nowhere.",
       .secret = true},
      {.name = "max_request_bytes",
       .member = &Options::max_request_bytes,
       .help = "Largest request; 1000000 for accounts with the later limit.",
       .minimum = 1'000,
       .maximum = gigabyte},
      {.name = "max_event_bytes",
       .member = &Options::max_event_bytes,
       .help = "Largest event. Default: max_request_bytes.",
       .minimum = 100,
       .maximum = gigabyte},
      {.name = "max_batch_bytes",
       .member = &Options::max_batch_bytes,
       .help = "Largest batch. Default: max_request_bytes.",
       .minimum = 100,
       .maximum = gigabyte},
      {.name = "flush_at",
       .member = &Options::flush_at,
       .help = "A batch may leave when so many events wait.",
       .minimum = 1,
       .maximum = 1e9},
      {.name = "flush_interval",
       .member = &Options::flush_interval,
       .help = "A batch may leave when the oldest event has waited so long.",
       .maximum = day},
      {.name = "max_queue_bytes",
       .member = &Options::max_queue_bytes,
       .help = "Bound on the events that are not yet acknowledged.",
       .minimum = 1'000,
       .maximum = 1e12},
      {.name = "on_full",
       .member = &Options::on_full,
       .help =
           "When the queue is full: fail the delivery, raise at the call, block the call, or drop the oldest events."},
      {.name = "block_timeout",
       .member = &Options::block_timeout,
       .help = "How long a call may wait with on_full=block.",
       .maximum = day},
      {.name = "on_invalid",
       .member = &Options::on_invalid,
       .help = "A mistake in a call: raise at the call, or report it as a failed delivery."},
      {.name = "spool_path",
       .member = &Options::spool_path,
       .help = "A folder. Events are kept there until their fate is known, so they outlive the process."},
      {.name = "spool_max_bytes",
       .member = &Options::spool_max_bytes,
       .help = "Bound on this client's file in the spool, and on the dead letters.",
       .minimum = 100'000,
       .maximum = 1e15},
      {.name = "spool_sync",
       .member = &Options::spool_sync,
       .help = "What an event in the spool survives: process: kill -9. power: a power cut too, for an fsync a call."},
      {.name = "max_retries",
       .member = &Options::max_retries,
       .help = "How often a failed request is sent again. Default: until delivery_timeout.",
       .maximum = 1e6},
      {.name = "retry_initial",
       .member = &Options::retry_initial,
       .help = "The first wait before a retry, with full jitter; it doubles.",
       .minimum = 0.001,
       .maximum = day},
      {.name = "retry_max",
       .member = &Options::retry_max,
       .help = "The longest wait before a retry, Retry-After included.",
       .minimum = 0.001,
       .maximum = day},
      {.name = "delivery_timeout",
       .member = &Options::delivery_timeout,
       .help = "How long an event may fail or find no server. Default: 5 minutes; with a spool, no limit.",
       .minimum = 0.001,
       .maximum = 365 * day},
      {.name = "on_unknown",
       .member = &Options::on_unknown,
       .help = "An event that was sent and never answered: resend it, or check first, by reading back, whether it is "
               "there."},
      {.name = "check_delay",
       .member = &Options::check_delay,
       .help = "How long on_unknown=check waits before it reads. What the service shows later than that is sent twice.",
       .maximum = day},
      {.name = "request_timeout",
       .member = &Options::request_timeout,
       .help = "How long one request may take.",
       .minimum = 0.001,
       .maximum = day},
      {.name = "connect_timeout",
       .member = &Options::connect_timeout,
       .help = "How long connecting may take.",
       .minimum = 0.001,
       .maximum = day},
      {.name = "max_connections",
       .member = &Options::max_connections,
       .help = "Requests under way at once.",
       .minimum = 1,
       .maximum = 1'000},
      {.name = "http2", .member = &Options::http2, .help = "Use HTTP/2 where the server has it."},
      {.name = "proxy",
       .member = &Options::proxy,
       .help = "Proxy address. Default: from the environment, as curl has it.",
       .secret = true},
      {.name = "ca_file",
       .member = &Options::ca_file,
       .help = "File with the certificates to trust (PEM). Default: the system's."},
      {.name = "user_agent", .member = &Options::user_agent, .help = "Put before the client's own User-Agent."},
      {.name = "exit_timeout",
       .member = &Options::exit_timeout,
       .help = "How long the end of the program waits for what is queued.",
       .maximum = day},
      {.name = "context", .member = &Options::context, .help = "An object, merged under every event's own context."},
      {.name = "allow_anonymous",
       .member = &Options::allow_anonymous,
       .help = "Allow identify and track with an anonymous id only."},
      {.name = "plan",
       .member = &Options::plan,
       .help = "A tracking plan that every event is checked against: a JSON or YAML file, or the plan itself.",
       .or_path = true},
      {.name = "plan_mode",
       .member = &Options::plan_mode,
       .help = "What breaks the plan: warn: is sent, counted and logged once for each event and rule. reject: is a "
               "mistake in the call."},
      {.name = "dry_run", .member = &Options::dry_run, .help = "Check and serialise every event, and send nothing."},
      {.name = "debug",
       .member = &Options::debug,
       .help = "Log each request and its answer: what the events hold, and never the token."},
  };
  return list;
}

template <class... Cases>
struct overloaded : Cases... {
  using Cases::operator()...;
};

std::string number_text(double value) {
  return nlohmann::json(value == std::trunc(value) ? nlohmann::json(static_cast<std::int64_t>(value))
                                                   : nlohmann::json(value))
      .dump();
}

OptionInfo describe(const Declaration& option) {
  static const Options defaults;
  OptionInfo info{.name = option.name,
                  .type = {},
                  .default_text = {},
                  .minimum = option.minimum,
                  .maximum = option.maximum,
                  .choices = {},
                  .secret = option.secret,
                  .help = option.help};
  std::visit(overloaded{
      [&](std::string Options::* m) {
        info.type = "text";
        info.default_text = (defaults.*m).empty() ? "none" : defaults.*m;
      },
      [&](bool Options::* m) {
        info.type = "flag";
        info.default_text = defaults.*m ? "true" : "false";
      },
      [&](double Options::* m) {
        info.type = "number";
        info.default_text = number_text(defaults.*m);
      },
      [&](std::size_t Options::* m) {
        info.type = "integer";
        info.default_text = std::to_string(defaults.*m);
      },
      [&](std::optional<std::size_t> Options::*) {
        info.type = "integer";
        info.default_text = "none";
      },
      [&](milliseconds Options::* m) {
        info.type = "duration";
        info.default_text = number_text(static_cast<double>((defaults.*m).count()) / 1000);
      },
      [&](std::optional<milliseconds> Options::*) {
        info.type = "duration";
        info.default_text = "none";
      },
      [&](nlohmann::json Options::*) {
        info.type = option.or_path ? "path or object" : "object";
        info.default_text = "none";
      },
      [&]<class Choice>(Choice Options::* m)
        requires std::is_enum_v<Choice>
      {
        info.type = "choice";
        info.choices.assign(names_of<Choice>.begin(), names_of<Choice>.end());
        info.default_text = names_of<Choice>[static_cast<std::size_t>(defaults.*m)];
      },
      },
      option.member);
  if (option.required) info.default_text = "required";
  return info;
}

}  // namespace

std::string styled(std::string_view name, const OptionStyle& style) {
  if (!style.camel_case) return std::string(name);
  std::string text;
  bool upper = false;
  for (char c : name) {
    if (c == '_') {
      upper = true;
    } else {
      text += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
      upper = false;
    }
  }
  return text;
}

namespace {

/// Reads one option's value, and says what is wrong with it under the option's name.
class Setter {
 public:
  Setter(Options& options, const Declaration& option, const nlohmann::json& value, const OptionStyle& style)
      : options_(options), option_(option), value_(value), style_(style) {}

  void operator()(std::string Options::* m) {
    if (!value_.is_string()) refuse_kind("text");
    options_.*m = value_.get<std::string>();
  }
  void operator()(bool Options::* m) {
    if (!value_.is_boolean()) refuse_kind("true or false");
    options_.*m = value_.get<bool>();
  }
  void operator()(double Options::* m) { options_.*m = bounded(1); }
  void operator()(std::size_t Options::* m) { options_.*m = whole(); }
  void operator()(std::optional<std::size_t> Options::* m) { options_.*m = whole(); }
  void operator()(milliseconds Options::* m) { options_.*m = duration(); }
  void operator()(std::optional<milliseconds> Options::* m) { options_.*m = duration(); }
  void operator()(nlohmann::json Options::* m) {
    if (option_.or_path && value_.is_string()) {
      if (value_.get_ref<const std::string&>().empty()) refuse("invalid_value", "must not be empty");
    } else if (!value_.is_object()) {
      refuse_kind(option_.or_path ? "a path or an object" : "an object");
    }
    options_.*m = value_;
  }
  template <class Choice>
    requires std::is_enum_v<Choice>
  void operator()(Choice Options::* m) {
    options_.*m = static_cast<Choice>(choose(names_of<Choice>));
  }

 private:
  [[noreturn]] void refuse(const char* code, const std::string& what) const {
    const std::string name = styled(option_.name, style_);
    throw ConfigurationError(name, code, name + " " + what);
  }
  [[noreturn]] void refuse_kind(const std::string& expected) const {
    refuse("wrong_type", "must be " + expected + ", not " +
                             (value_.is_string()    ? "text"
                              : value_.is_object()  ? "an object"
                              : value_.is_array()   ? "an array"
                              : value_.is_boolean() ? "a boolean"
                                                    : "a number"));
  }
  double bounded(double scale) const {
    if (!value_.is_number()) refuse_kind("a number");
    const double number = value_.get<double>();
    if (!(number >= option_.minimum * scale && number <= option_.maximum * scale)) {
      refuse("out_of_bounds",
             "must be from " + number_text(option_.minimum * scale) + " to " + number_text(option_.maximum * scale));
    }
    return number;
  }
  milliseconds duration() const {
    const double unit = static_cast<double>(style_.duration_unit.count());
    return milliseconds(std::llround(bounded(1000 / unit) * unit));
  }
  std::size_t whole() const {
    const double number = bounded(1);
    if (number != std::trunc(number)) refuse_kind("a whole number");
    return static_cast<std::size_t>(number);
  }
  template <std::size_t N>
  std::size_t choose(const std::array<std::string_view, N>& choices) const {
    if (!value_.is_string()) refuse_kind("text");
    const std::string& text = value_.get_ref<const std::string&>();
    const auto found = std::find(choices.begin(), choices.end(), text);
    if (found == choices.end()) {
      std::string list;
      for (std::string_view choice : choices)
        list += (list.empty() ? "" : choice == choices.back() ? " or " : ", ") + std::string(choice);
      refuse("invalid_value", "must be " + list + did_you_mean(text, choices));
    }
    return static_cast<std::size_t>(found - choices.begin());
  }

  Options& options_;
  const Declaration& option_;
  const nlohmann::json& value_;
  const OptionStyle& style_;
};

/// What an environment variable's text means for an option.
nlohmann::json from_text(const Declaration& option, const std::string& text) {
  const bool is_text = std::visit(
      []<class Value>(Value Options::*) { return std::is_same_v<Value, std::string> || std::is_enum_v<Value>; },
      option.member);
  if (is_text) return text;
  if (std::holds_alternative<bool Options::*>(option.member)) {
    if (text == "1" || text == "true" || text == "yes" || text == "on") return true;
    if (text == "0" || text == "false" || text == "no" || text == "off") return false;
    return text;
  }
  nlohmann::json value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_discarded() ? nlohmann::json(text) : value;
}

[[noreturn]] void refuse(std::string_view option, const char* code, const std::string& what, const OptionStyle& style) {
  const std::string name = styled(option, style);
  throw ConfigurationError(name, code, name + " " + what);
}

void check_header_value(std::string_view option, std::string_view value, const OptionStyle& style) {
  const bool clean = std::all_of(value.begin(), value.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
  if (!clean) refuse(option, "invalid_value", "holds a space, a line break or a character that is not ASCII", style);
}

void check_endpoint(const Options& options, const OptionStyle& style) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), &curl_url_cleanup);
  if (curl_url_set(url.get(), CURLUPART_URL, options.endpoint.c_str(), 0) != CURLUE_OK) {
    refuse("endpoint", "invalid_value", "is not an address such as https://tracking.intilery.com", style);
  }
  const auto part = [&](CURLUPart which) {
    char* text = nullptr;
    curl_url_get(url.get(), which, &text, 0);
    const std::unique_ptr<char, decltype(&curl_free)> owned(text, &curl_free);
    return text == nullptr ? std::string() : std::string(text);
  };
  const std::string scheme = part(CURLUPART_SCHEME);
  if (scheme != "https" && scheme != "http")
    refuse("endpoint", "invalid_value", "must begin with https:// (or http:// for a test)", style);
  if (!part(CURLUPART_USER).empty() || !part(CURLUPART_PASSWORD).empty()) {
    refuse("endpoint", "invalid_value", "must not hold a user or a password", style);
  }
  if (!part(CURLUPART_QUERY).empty() || !part(CURLUPART_FRAGMENT).empty()) {
    refuse("endpoint", "invalid_value", "must not have a query or a fragment", style);
  }
  const std::string host = part(CURLUPART_HOST);
  if (scheme == "http" && !transport::is_loopback(host) && !options.allow_insecure_http) {
    refuse("endpoint", "invalid_value",
           "is plain http, which would show the token to everyone on the way; use https, or set " +
               styled("allow_insecure_http", style),
           style);
  }
}

void check_rate_limit_store(const Options& options, const OptionStyle& style) {
  if (options.rate_limit_store.empty()) return;
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), &curl_url_cleanup);
  char* host = nullptr;
  const bool whole =
      options.rate_limit_store.starts_with("redis://") &&
      curl_url_set(url.get(), CURLUPART_URL, options.rate_limit_store.c_str(), CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
      curl_url_get(url.get(), CURLUPART_HOST, &host, 0) == CURLUE_OK;
  const std::unique_ptr<char, decltype(&curl_free)> owned(host, &curl_free);
  if (!whole) {
    refuse("rate_limit_store", "invalid_value",
           "is not an address such as redis://localhost:6379/0 (rediss:// is not supported)", style);
  }
}

}  // namespace

const std::vector<OptionInfo>& option_list() {
  static const std::vector<OptionInfo> list = [] {
    std::vector<OptionInfo> infos;
    for (const Declaration& option : declarations()) infos.push_back(describe(option));
    return infos;
  }();
  return list;
}

void set_option(Options& options, std::string_view name, const nlohmann::json& value, const OptionStyle& style) {
  const std::vector<Declaration>& list = declarations();
  const auto option =
      std::find_if(list.begin(), list.end(), [&](const Declaration& o) { return styled(o.name, style) == name; });
  if (option == list.end()) {
    std::vector<std::string> names;
    for (const Declaration& o : list) names.push_back(styled(o.name, style));
    const std::vector<std::string_view> candidates(names.begin(), names.end());
    throw ConfigurationError(std::string(name), "unknown_option",
                             "there is no option \"" + std::string(name) + "\"" + did_you_mean(name, candidates));
  }
  if (value.is_null()) return;
  std::visit(Setter(options, *option, value, style), option->member);
}

Options Options::from_env() {
  Options options;
  for (const Declaration& option : declarations()) {
    std::string variable = "INTILERY_";
    for (char c : option.name) variable += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    const char* text = std::getenv(variable.c_str());
    if (text == nullptr || *text == '\0') continue;
    try {
      set_option(options, option.name, from_text(option, text));
    } catch (const ConfigurationError& error) {
      throw ConfigurationError(std::string(option.name), error.code(),
                               "the environment variable " + variable + ": " + error.what());
    }
  }
  return options;
}

void check_options(const Options& options, const OptionStyle& style) {
  for (const Declaration& option : declarations()) {
    if (!option.required) continue;
    const std::string& text = options.*std::get<std::string Options::*>(option.member);
    if (text.empty()) {
      std::string variable = "INTILERY_";
      for (char c : option.name) variable += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      refuse(option.name, "required",
             "is required; pass it, or set " + variable + " and use the client from the environment", style);
    }
    if (option.secret) {
      check_header_value(option.name, text, style);
      continue;
    }
    const bool clean = std::all_of(text.begin(), text.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '~';
    });
    if (!clean || text == "." || text == "..")
      refuse(option.name, "invalid_value", "may hold only letters, digits and - _ . ~", style);
  }
  check_endpoint(options, style);
  check_rate_limit_store(options, style);
  const bool printable = std::all_of(options.user_agent.begin(), options.user_agent.end(),
                                     [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
  if (!printable) refuse("user_agent", "invalid_value", "holds a line break or a character that is not ASCII", style);
  if (!options.context.is_null() && !options.context.is_object())
    refuse("context", "wrong_type", "must be an object", style);
  if (!options.plan.is_null() && !options.plan.is_object() && !options.plan.is_string())
    refuse("plan", "wrong_type", "must be a path or an object", style);
  // The aggregate can be filled without set_option, so bounds are checked here for everyone.
  for (const Declaration& option : declarations()) {
    double value = option.minimum;
    if (const auto* number = std::get_if<double Options::*>(&option.member)) value = options.**number;
    if (const auto* count = std::get_if<std::size_t Options::*>(&option.member))
      value = static_cast<double>(options.**count);
    if (const auto* count = std::get_if<std::optional<std::size_t> Options::*>(&option.member)) {
      value = static_cast<double>((options.**count).value_or(static_cast<std::size_t>(option.minimum)));
    }
    double scale = 1;
    const auto duration = [&](milliseconds given) {
      scale = 1000.0 / static_cast<double>(style.duration_unit.count());
      value = static_cast<double>(given.count()) / static_cast<double>(style.duration_unit.count());
    };
    if (const auto* given = std::get_if<milliseconds Options::*>(&option.member)) duration(options.**given);
    if (const auto* given = std::get_if<std::optional<milliseconds> Options::*>(&option.member)) {
      if (options.**given) duration(*(options.**given));
    }
    if (!(value >= option.minimum * scale && value <= option.maximum * scale) && option.maximum > 0) {
      refuse(option.name, "out_of_bounds",
             "must be from " + number_text(option.minimum * scale) + " to " + number_text(option.maximum * scale),
             style);
    }
  }
  for (const auto& [name, size] :
       {std::pair{"max_event_bytes", options.max_event_bytes}, std::pair{"max_batch_bytes", options.max_batch_bytes}}) {
    if (size.value_or(0) > options.max_request_bytes)
      refuse(name, "out_of_bounds", "is more than " + styled("max_request_bytes", style), style);
  }
}

}  // namespace intilery
