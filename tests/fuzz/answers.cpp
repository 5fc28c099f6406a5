// A server's answer to an event or a batch: whatever it is, there is one verdict, and the quick way and the slow way
// come to the same.
#include <nlohmann/json.hpp>
#include <set>

#include "delivery/verdict.hpp"
#include "printable.hpp"
#include "target.hpp"

namespace intilery::fuzz {

using delivery::Verdict;
using nlohmann::json;

// Lines: `e` (event) or `b` (batch) and the status, `u`, `t`, `s` or `x` behind it for no answer; Retry-After; the
// body.
FUZZ_TARGET(answers) {
  Input in(bytes);
  const Route route = in.letter() == 'b' ? Route::batch : Route::event;
  const std::string_view first = in.line();
  transport::Response response;
  response.status = Input::decimal<int>(first);
  const char how = first.empty() ? ' ' : first.back();
  response.sent = how == 'x' || how == 't';
  response.failure = how == 'u'   ? transport::Failure::unreachable
                     : how == 't' ? transport::Failure::timed_out
                     : how == 's' ? transport::Failure::tls
                     : how == 'x' ? transport::Failure::broken
                                  : transport::Failure::none;
  response.retry_after = in.line();
  response.body = in.rest();
  const Verdict verdict = delivery::judge(response, route, 1'700'000'000'000);

  must(verdict.kind == Verdict::Kind::accepted || !verdict.code.empty(), "what is not accepted has a code");
  must(printable(verdict.message) == verdict.message, "a message is safe for a terminal");
  must(verdict.message.size() < 3'000, "a message is short");
  if (response.failure != transport::Failure::none) {
    must(verdict.kind == Verdict::Kind::unavailable, "no answer means: later");
    must(verdict.may_have_arrived == response.sent, "what was sent may have arrived");
    return;
  }
  const json answer = json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  const bool success = response.status >= 200 && response.status < 300;
  const auto said = [&](const char* key) { return answer.is_object() && answer.contains(key) ? answer[key] : json(); };
  must((verdict.kind == Verdict::Kind::accepted) == (success && said("success") == true),
       "accepted is what a 2xx with success: true says, and nothing else");
  if (verdict.kind == Verdict::Kind::accepted) {
    must(verdict.event_id.has_value() == said("eventId").is_string(), "it has the answer's eventId");
    must(!verdict.event_id || said("eventId") == *verdict.event_id, "and that as it was given");
    return;
  }
  must(!verdict.event_id, "only what is accepted has an eventId");
  if (success) {
    const bool refused = said("success") == false;
    must((verdict.kind == Verdict::Kind::refused) == refused, "success: false is a refusal");
    must(refused || verdict.may_have_arrived, "after a 2xx that says nothing it may have arrived");
  }
  if (verdict.kind == Verdict::Kind::refused)
    must(success || (response.status >= 300 && response.status < 500), "only an answer that says so refuses");
  static const std::set<int> retried{408, 425, 502, 503, 504, 500};
  if (retried.contains(response.status)) must(verdict.kind == Verdict::Kind::unavailable, "it is tried again");
  if (response.status == 429) must(verdict.kind == Verdict::Kind::throttled, "429 slows");
  if (response.status == 403) must(verdict.kind == Verdict::Kind::unauthorised, "403 stops");
  if (response.status == 413) must(verdict.kind == Verdict::Kind::too_large, "413 splits");
  if (verdict.kind == Verdict::Kind::no_batch) must(route == Route::batch, "an event needs no batch");
}

}  // namespace intilery::fuzz
