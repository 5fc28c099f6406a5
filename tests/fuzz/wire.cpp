// What comes out of a socket: an HTTP server's bytes through libcurl and our transport, and a Redis server's through
// hiredis and our rate store.
#include <condition_variable>
#include <memory>

#include "delivery/rate_store.hpp"
#include "delivery/verdict.hpp"
#include "peer.hpp"
#include "printable.hpp"
#include "transport/curl_transport.hpp"

namespace intilery::fuzz {

using namespace std::chrono_literals;

namespace {

Options options_for(const RudeServer& server) {
  Options options;
  options.client_id = options.account_id = "hea";
  options.brand_id = "HEA";
  options.auth_token = "a-token-that-nobody-shows";
  options.endpoint = "http://127.0.0.1:" + std::to_string(server.port());
  options.rate_limit_store = "redis://127.0.0.1:" + std::to_string(server.port());
  options.request_timeout = 2s;
  options.connect_timeout = 2s;
  return options;
}

void check_http(const Options& options, bool post) {
  const auto transport = transport::make_curl_transport(options, "fuzz");
  constexpr std::string_view body = R"({"event":"E"})";
  transport::Request request{.id = 7, .path = "/track/hea/hea/HEA/v1/track", .post = post, .body = {}, .body_size = 0};
  if (post) {
    request.body = {body};
    request.body_size = body.size();
  }
  transport->start(std::move(request));
  std::vector<transport::Response> done;
  const auto deadline = std::chrono::steady_clock::now() + 20s;
  while (done.empty() && std::chrono::steady_clock::now() < deadline) done = transport->poll(100ms);
  must(done.size() == 1, "a request has one response, in time");
  const transport::Response& response = done.front();
  must(response.id == 7, "its own");
  must(!post || response.body.size() <= 64'000, "an answer is bounded");
  must(printable(response.detail) == response.detail, "what went wrong is safe for a terminal: " + response.detail);
  must(response.detail.find(options.auth_token) == std::string::npos, "and shows no token");
  must((response.failure == transport::Failure::none) == (response.status != 0), "there is a status, or a failure");
  must(response.retry_after.find('\n') == std::string::npos, "a header is one line");
  const delivery::Verdict verdict = delivery::judge(response, Route::event, 1'700'000'000'000);
  must(printable(verdict.message) == verdict.message, "so is the verdict");
}

void check_redis(const Options& options) {
  std::mutex mutex;
  std::condition_variable changed;
  bool woken = false;
  constexpr std::size_t wanted = 5;
  delivery::RedisRateStore store(options, [&] {
    const std::lock_guard lock(mutex);
    woken = true;
    changed.notify_all();
  });
  store.ask(wanted);
  {
    std::unique_lock lock(mutex);
    must(changed.wait_for(lock, 20s, [&] { return woken; }), "the store answers in time");
  }
  const std::optional<delivery::Grant> grant = store.answer();
  must(grant.has_value(), "there is an answer");
  if (!grant->reachable) {
    must(!grant->why.empty() && printable(grant->why) == grant->why, "why is told, safe for a terminal");
    return;
  }
  must(grant->tokens <= wanted, "not more tokens than were asked for");
  must(grant->wait >= 0ms && grant->wait <= std::chrono::hours(24 * 366), "a wait is bounded");
  must(grant->clients >= 1 && grant->clients < 100'000'000, "somebody asked");
  must(std::abs(grant->level) < 1e12, "a level is one");
}

}  // namespace

// `h` (an event), `g` (a read) or `r` (Redis); then all that the server says before it hangs up.
FUZZ_TARGET(wire) {
  static RudeServer server;
  static const Options options = options_for(server);
  Input in(bytes);
  const char kind = in.letter();
  server.answer_with(in.rest());
  if (kind == 'r') return check_redis(options);
  check_http(options, kind != 'g');
}

}  // namespace intilery::fuzz
