#include "convert.hpp"

#include <string>
#include <string_view>
#include <utility>

namespace intilery::node {

namespace {

std::string_view name_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::configuration:
      return "configuration";
    case ErrorKind::validation:
      return "validation";
    case ErrorKind::queue_full:
      return "queue_full";
    case ErrorKind::closed:
      return "closed";
    case ErrorKind::delivery:
      return "delivery";
    case ErrorKind::auth:
      return "auth";
    case ErrorKind::timeout:
      return "timeout";
    case ErrorKind::spool:
      return "spool";
  }
  return "delivery";
}

Napi::Number number(Napi::Env env, std::uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); }

Napi::Array texts(Napi::Env env, const std::vector<std::string>& values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (std::uint32_t i = 0; i < values.size(); ++i) array.Set(i, Napi::String::New(env, values[i]));
  return array;
}

}  // namespace

nlohmann::json to_json(const ErrorInfo& error) {
  nlohmann::json violations = nlohmann::json::array();
  for (const Violation& violation : error.violations) {
    violations.push_back(
        {{"code", violation.code}, {"path", violation.path}, {"rule", violation.rule}, {"message", violation.message}});
  }
  return {{"kind", name_of(error.kind)},
          {"code", error.code},
          {"message", error.message},
          {"path", error.path},
          {"arrived", error.arrived == Arrived::no ? "no" : "unknown"},
          {"status", error.status},
          {"body", error.body},
          {"attempts", error.attempts},
          {"errors", std::move(violations)}};
}

Napi::Object to_js(Napi::Env env, const ErrorInfo& error) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("kind", std::string(name_of(error.kind)));
  object.Set("code", error.code);
  object.Set("message", error.message);
  object.Set("path", error.path);
  object.Set("arrived", error.arrived == Arrived::no ? "no" : "unknown");
  object.Set("status", error.status);
  object.Set("body", error.body);
  object.Set("attempts", error.attempts);
  Napi::Array errors = Napi::Array::New(env, error.violations.size());
  for (std::uint32_t i = 0; i < error.violations.size(); ++i) {
    const Violation& violation = error.violations[i];
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("code", violation.code);
    entry.Set("path", violation.path);
    entry.Set("rule", violation.rule);
    entry.Set("message", violation.message);
    errors.Set(i, entry);
  }
  object.Set("errors", errors);
  return object;
}

Napi::Object to_js(Napi::Env env, const Flush& flush) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("delivered", number(env, flush.delivered));
  object.Set("failed", number(env, flush.failed));
  object.Set("remaining", number(env, flush.remaining));
  return object;
}

Napi::Object to_js(Napi::Env env, const Stats& stats) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("accepted", number(env, stats.accepted));
  object.Set("delivered", number(env, stats.delivered));
  object.Set("failed", number(env, stats.failed));
  Napi::Object reasons = Napi::Object::New(env);
  for (const auto& [reason, count] : stats.failed_by_reason) reasons.Set(reason, number(env, count));
  object.Set("failedByReason", reasons);
  object.Set("queued", number(env, stats.queued));
  object.Set("inFlight", number(env, stats.in_flight));
  object.Set("queuedBytes", number(env, stats.queued_bytes));
  object.Set("retried", number(env, stats.retried));
  object.Set("readBack", number(env, stats.read_back));
  object.Set("bytesSent", number(env, stats.bytes_sent));
  Napi::Object requests = Napi::Object::New(env);
  for (const auto& [status, count] : stats.requests) requests.Set(std::to_string(status), number(env, count));
  object.Set("requests", requests);
  Napi::Object violations = Napi::Object::New(env);
  for (const auto& [cause, count] : stats.plan_violations) violations.Set(cause, number(env, count));
  object.Set("planViolations", violations);
  object.Set("rateLeft", stats.rate_left);
  object.Set("state", std::string(to_string(stats.state)));
  return object;
}

Napi::Object to_js(Napi::Env env, const Verification& verification) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("expected", number(env, verification.expected));
  object.Set("found", number(env, verification.found));
  object.Set("missing", texts(env, verification.missing));
  object.Set("duplicate", texts(env, verification.duplicate));
  object.Set("complete", verification.complete());
  return object;
}

Napi::Object to_js(Napi::Env env, const OptionInfo& option) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", camel_case(option.name));
  object.Set("type", std::string(option.type));
  object.Set("default", option.default_text);
  object.Set("minimum", option.minimum);
  object.Set("maximum", option.maximum);
  object.Set("choices", texts(env, {option.choices.begin(), option.choices.end()}));
  object.Set("secret", option.secret);
  object.Set("help", std::string(option.help));
  return object;
}

std::string camel_case(std::string_view snake_case) {
  std::string camel;
  bool upper = false;
  for (const char c : snake_case) {
    if (c == '_') {
      upper = true;
      continue;
    }
    camel += upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    upper = false;
  }
  return camel;
}

}  // namespace intilery::node
