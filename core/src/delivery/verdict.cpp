#include "delivery/verdict.hpp"

#include <simdjson.h>

#include <nlohmann/json.hpp>

#include "delivery/retry_after.hpp"

namespace intilery::delivery {

namespace {

using Kind = Verdict::Kind;

std::string status_text(int status) { return "HTTP status " + std::to_string(status); }

/// The server's own words, if its answer has the contract's form.
std::string server_message(const nlohmann::json& answer, const Secrets& secrets) {
  if (!answer.is_object()) return "";
  const auto message = answer.find("message");
  if (message == answer.end() || !message->is_string()) return "";
  return secrets.shown(message->get_ref<const std::string&>(), 500);
}

Verdict judge_success(const transport::Response& response, const nlohmann::json& answer, const Secrets& secrets) {
  if (answer.is_object()) {
    const auto success = answer.find("success");
    if (success != answer.end() && success->is_boolean()) {
      if (success->get<bool>()) {
        Verdict verdict{.kind = Kind::accepted, .code = {}, .message = {}, .event_id = {}, .retry_after = {}};
        const auto id = answer.find("eventId");
        if (id != answer.end() && id->is_string()) verdict.event_id = id->get<std::string>();
        return verdict;
      }
      return {.kind = Kind::refused,
              .code = "rejected",
              .message = "the server refused it: " + server_message(answer, secrets),
              .event_id = {},
              .retry_after = {}};
    }
  }
  // Something on the way answered in the service's place, or the answer was damaged: nobody knows.
  return {.kind = Kind::unavailable,
          .code = "invalid_answer",
          .message = "the server answered " + status_text(response.status) + " without the API's {\"success\": true}",
          .event_id = {},
          .retry_after = {},
          .may_have_arrived = true};
}

/// The usual answer, `{"success": true, "eventId": …}`, read the quick way. Nothing for any other, which is read below.
std::optional<Verdict> usual_success(const std::string& body) {
  constexpr std::size_t longest = 1'000;
  if (body.size() > longest) return std::nullopt;
  thread_local simdjson::dom::parser parser;
  simdjson::dom::object answer;
  if (parser.parse(body).get(answer) != simdjson::SUCCESS) return std::nullopt;
  bool success = false;
  std::string_view id;
  for (const auto [key, value] : answer) {  // of two members with one name, the last counts
    if (key == "success" && value.get(success) != simdjson::SUCCESS) return std::nullopt;
    if (key == "eventId" && value.get(id) != simdjson::SUCCESS) return std::nullopt;
  }
  if (!success) return std::nullopt;
  Verdict verdict{.kind = Kind::accepted, .code = {}, .message = {}, .event_id = {}, .retry_after = {}};
  if (id.data() != nullptr) verdict.event_id.emplace(id);
  return verdict;
}

}  // namespace

Verdict judge(const transport::Response& response, Route route, std::int64_t unix_now_ms, const Secrets& secrets) {
  const auto verdict = [&](Kind kind, std::string code, std::string message, bool may_have_arrived = false) {
    return Verdict{.kind = kind,
                   .code = std::move(code),
                   .message = std::move(message),
                   .event_id = {},
                   .retry_after = parse_retry_after(response.retry_after, unix_now_ms),
                   .may_have_arrived = may_have_arrived};
  };
  if (response.failure != transport::Failure::none) {
    const char* code = response.failure == transport::Failure::timed_out ? "timed_out"
                       : response.failure == transport::Failure::tls     ? "tls"
                       : response.sent                                   ? "connection_lost"
                                                                         : "unreachable";
    return verdict(Kind::unavailable, code, response.detail, response.sent);
  }
  const int status = response.status;
  if (status >= 200 && status < 300) {
    if (std::optional<Verdict> usual = usual_success(response.body)) return *std::move(usual);
  }
  const nlohmann::json answer = nlohmann::json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  const std::string said = server_message(answer, secrets);
  const std::string with_words = status_text(status) + (said.empty() ? "" : ": " + said);
  if (status >= 200 && status < 300) return judge_success(response, answer, secrets);
  if (status < 200) {  // no answer to a request ends with such a status
    return verdict(Kind::unavailable, "invalid_answer", "the server answered " + status_text(status), true);
  }
  if (status >= 300 && status < 400) {
    return verdict(
        Kind::refused, "redirected",
        "the server answered with a redirect, which is never followed (" + status_text(status) + "); check endpoint");
  }
  switch (status) {
    case 400:
      return verdict(Kind::refused, "rejected", "the server refused it (" + with_words + ")");
    case 401:
    case 403:
      return verdict(
          Kind::unauthorised, "unauthorised",
          "the token has no rights here (" + with_words + "); check auth_token, client_id, account_id and brand_id");
    case 404:
    case 405:
    case 501:
      if (route == Route::batch)
        return verdict(Kind::no_batch, "not_found", "the server has no batch (" + with_words + ")");
      if (status == 501) break;
      return verdict(Kind::refused, "not_found",
                     "the server does not know this address (" + with_words +
                         "); check endpoint, client_id, account_id and brand_id");
    case 413:
      return verdict(Kind::too_large, "too_large", "the server finds it too large (" + with_words + ")");
    case 408:
    case 425:
      return verdict(Kind::unavailable, "unavailable", "the server could not take it (" + with_words + ")");
    case 429:
      return verdict(Kind::throttled, "throttled", "the account's rate is used up (" + with_words + ")");
    default:
      break;
  }
  if (status >= 500) {
    // Only these say that nothing was done; a server may have failed once it had taken the events.
    const bool undone = status == 501 || status == 503;
    return verdict(Kind::unavailable, "unavailable", "the server is in trouble (" + with_words + ")", !undone);
  }
  return verdict(Kind::refused, "rejected", "the server refused it (" + with_words + ")");
}

}  // namespace intilery::delivery
