#include "service.hpp"

#include <algorithm>
#include <ctime>
#include <memory>
#include <utility>

namespace intilery::simulator {

namespace {

using std::chrono::milliseconds;

double share(std::mt19937_64& random) { return std::uniform_real_distribution<double>(0, 1)(random); }
bool chance(std::mt19937_64& random, double probability) { return share(random) < probability; }
milliseconds some(std::mt19937_64& random, milliseconds from, milliseconds to) {
  return milliseconds(std::uniform_int_distribution<std::int64_t>(from.count(), std::max(from, to).count())(random));
}

transport::Response answered(int status, std::string body = {}) {
  transport::Response response;
  response.status = status;
  response.body = std::move(body);
  response.sent = true;
  return response;
}
transport::Response unanswered(transport::Failure failure, bool sent) {
  transport::Response response;
  response.failure = failure;
  response.sent = sent;
  response.detail = "simulated";
  return response;
}

}  // namespace

Service::Service(std::uint64_t seed, Machine& machine, Ledger& ledger, Settings given)
    : settings(given),
      seed_(seed),
      machine_(machine),
      ledger_(ledger),
      bucket_(given.rate, given.burst, machine.now()),
      crowded_at_(machine.now()) {}

void Service::start(Request request, Answer answer) {
  auto random = std::make_shared<std::mt19937_64>(random_of(seed_, 1, ++requests));
  const TimePoint now = machine_.now();
  const milliseconds latency = some(*random, milliseconds(2), weather.slowest);
  const TimePoint timeout = now + settings.request_timeout;
  const auto answer_at = [this, answer](TimePoint moment, transport::Response response) {
    machine_.at(moment, [answer, response = std::move(response)] { answer(response); });
  };

  double dice = share(*random);
  const auto happens = [&](double probability) { return std::exchange(dice, dice - probability) < probability; };
  if (happens(weather.unreachable)) {
    const bool at_once = chance(*random, 0.7);
    return answer_at(now + (at_once ? milliseconds(3) : settings.connect_timeout),
                     unanswered(at_once ? transport::Failure::unreachable : transport::Failure::timed_out, false));
  }
  const auto shared = std::make_shared<const Request>(std::move(request));
  if (happens(weather.reset)) {
    if (chance(*random, 0.5)) machine_.at(now + latency / 2, [=, this] { serve(*shared, *random); });
    return answer_at(now + latency, unanswered(transport::Failure::broken, true));
  }
  if (happens(weather.hang)) {
    const milliseconds late = some(*random, milliseconds(1), 2 * settings.request_timeout);
    if (chance(*random, 0.5)) machine_.at(now + late, [=, this] { serve(*shared, *random); });
    return answer_at(timeout, unanswered(transport::Failure::timed_out, true));
  }
  const bool in_time = now + latency < timeout;
  machine_.at(now + latency / 2, [=, this] {
    transport::Response response = serve(*shared, *random);
    if (in_time) answer_at(now + latency, std::move(response));
  });
  if (!in_time) answer_at(timeout, unanswered(transport::Failure::timed_out, true));
}

std::string Service::retry_after(std::mt19937_64& random, TimePoint now) {
  const long seconds = std::max<long>(bucket_.retry_after(now), static_cast<long>(random() % 4));
  switch (settings.retry_after) {
    case Settings::RetryAfter::none:
      return "";
    case Settings::RetryAfter::seconds:
      return std::to_string(seconds);
    case Settings::RetryAfter::date:
      break;
  }
  const std::time_t moment = static_cast<std::time_t>(machine_.true_unix_us() / 1'000'000) + seconds;
  std::tm parts{};
  gmtime_r(&moment, &parts);
  char text[64];
  return {text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

transport::Response Service::serve(const Request& request, std::mt19937_64& random) {
  transport::Response response = judge(request, random);
  const bool accepted = response.status == 200;
  if (!accepted || !request.post) return response;
  double dice = share(random);
  const auto happens = [&](double probability) { return std::exchange(dice, dice - probability) < probability; };
  if (happens(weather.busy)) {
    constexpr int statuses[]{503, 503, 408, 425};
    response = answered(statuses[random() % 4], "");
    if (response.status == 503 && random() % 2 == 0) response.retry_after = retry_after(random, machine_.now());
    return response;
  }
  if (happens(weather.failing)) {
    constexpr int statuses[]{500, 502, 504};
    if (random() % 2 == 0) ledger_.arrive(request.calls);
    return answered(statuses[random() % 3], "<html>");
  }
  ledger_.arrive(request.calls);
  if (happens(weather.garbage)) return answered(200, random() % 2 == 0 ? "<html>Welcome" : "");
  return response;
}

/// What the contract says, with nothing in trouble.
transport::Response Service::judge(const Request& request, std::mt19937_64& random) {
  const TimePoint now = machine_.now();
  const double passed = std::chrono::duration<double>(now - std::exchange(crowded_at_, now)).count();
  for (double others = passed * settings.rate * weather.crowd; others > share(random) && bucket_.take(now); --others) {
  }
  if (!bucket_.take(now)) {
    ++throttled;
    transport::Response response = answered(429, "");
    response.retry_after = retry_after(random, now);
    return response;
  }
  ++taken;
  if (!request.token_is_right || weather.refused.contains(request.brand)) return answered(403, "");
  if (!request.post) {
    if (!settings.has_reading) return answered(404, R"({"error":{"code":"not_found"}})");
    return answered(200, page(request));
  }
  const bool batch = request.action == "batch";
  if (batch && !settings.has_batch) return answered(404, "");
  if (request.size > settings.limit) return answered(413, "");
  const auto is_bad = [&](std::size_t number) { return ledger_.calls[number].bad; };
  if (std::any_of(request.calls.begin(), request.calls.end(), is_bad))
    return answered(400, R"({"success":false,"message":"event is bad"})");
  return answered(200, batch ? R"({"success":true})" : R"({"success":true,"eventId":"e-1"})");
}

/// What it shows of a user's events, or of all. It keeps to `from` and `size`, and not to `start` and `end`.
std::string Service::page(const Request& request) const {
  const auto number_behind = [&](std::string_view name, std::size_t otherwise) {
    const std::size_t at = request.action.find(name);
    return at == std::string::npos ? otherwise : std::stoul(request.action.substr(at + name.size()));
  };
  const std::size_t from = number_behind("from=", 0);
  const std::size_t size = number_behind("size=", 100);
  const std::size_t user_at = request.action.find("userId:user-");
  const std::size_t user = user_at == std::string::npos ? 0 : std::stoul(request.action.substr(user_at + 12));
  std::string body = R"({"events":[)";
  std::size_t seen = 0;
  for (std::size_t number = 0; number < ledger_.calls.size(); ++number) {
    const Call& call = ledger_.calls[number];
    if (call.arrivals == 0 || call.brand != request.brand) continue;
    if (user_at != std::string::npos && call.user != user) continue;
    const std::size_t place = seen++;
    if (place < from || place >= from + size) continue;
    if (body.back() != '[') body += ',';
    body += R"({"eventId":"e-1","rawData":{"messageId":")" + Ledger::id_of(number) + "\"}}";
  }
  return body + "]}";
}

}  // namespace intilery::simulator
