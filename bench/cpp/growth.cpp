// Whether an event costs the same however many events, users, and users in retry there are. The CPU time of the
// delivery engine for an event, with a transport that answers at once; and that of the whole process, with a null
// server.
//
//     build/cmake/bench/cpp/bench_growth [--json] [most_events] [rounds]
#include <cmath>

#include "delivery/engine.hpp"
#include "event/encoder.hpp"
#include "event/timestamp.hpp"
#include "measured.hpp"
#include "null_server.hpp"
#include "payload.hpp"

using namespace intilery;
using namespace intilery::bench;

namespace {

using std::chrono::milliseconds;

/// Answers everything at once; while `refusing`, events of busy users with 503.
class Answers : public transport::Transport {
 public:
  void start(transport::Request request) override {
    bool busy = false;
    if (refusing) busy = request.body.front().find("\"busy-") != std::string_view::npos;
    transport::Response response;
    response.id = request.id;
    response.status = busy ? 503 : 200;
    response.body = R"({"success":true,"eventId":"2f2d0a4e-7b0a-4c58-9d0e-4d8f1f0a8c11"})";
    response.sent = true;
    ready.push_back(std::move(response));
  }
  std::vector<transport::Response> poll(milliseconds) override { return std::exchange(ready, {}); }
  void wake() override {}
  void abandon() override {}
  void set_token(const std::string&) override {}

  bool refusing = false;
  std::vector<transport::Response> ready;
};

/// An engine with all of its world but the callers' threads.
class World {
 public:
  explicit World(Options given)
      : options(std::move(given)),
        queue(options.max_queue_bytes),
        encoder(options, "bench", "0"),
        engine(options, queue, transport,
               {.settled =
                    [this](const queue::EventList& events, std::shared_ptr<const Outcome> outcome) {
                      queue.count(events, outcome->error ? outcome->error->code : "");
                      queue.conclude(events, outcome->error == nullptr);
                    },
                .log = [](LogLevel, const std::string&) {},
                .unix_now_ms = event::unix_now_ms,
                .seed = 7,
                .pace = {},
                .brand_name = [](std::uint16_t) { return std::string("HEA"); }},
               now) {}

  void track(const std::string& user) {
    event::MessageId id;
    event::Draft draft{.user_id = user, .event = "Order Completed"};
    static const std::string_view order = order_text();
    draft.body = event::json_source(order);
    queue::EventPtr event = encoder.encode(draft, id);
    if (queue.push(event) == queue::BoundedQueue::Push::full) throw std::runtime_error("the queue is full");
  }
  void turn(milliseconds later) {
    now += later;
    engine.step(now);
    const delivery::Engine::Nap nap = engine.nap(now);
    std::vector<transport::Response> responses = transport.poll({});
    // Nothing is under way, so nothing happens before that.
    if (responses.empty()) now = std::max(now + milliseconds(1), nap.until.value_or(now));
    for (transport::Response& response : responses) engine.handle(std::move(response), now);
  }
  std::uint64_t queued() const {
    Stats stats;
    queue.fill(stats);
    return stats.queued;
  }

  Options options;
  queue::BoundedQueue queue;
  event::Encoder encoder;
  Answers transport;
  queue::TimePoint now{std::chrono::hours(1)};
  delivery::Engine engine;
};

constexpr std::size_t sample = 200'000;
/// Events that wait at once.
constexpr std::size_t window = 50'000;

/// The engine's part for an event, of so many users.
double with_users(std::size_t users, DeliveryMode delivery) {
  Options options = options_for("http://127.0.0.1");
  options.delivery = delivery;
  options.max_connections = 32;
  World world(options);
  double spent = 0;
  std::size_t next = 0;
  const std::size_t events = std::max(sample, users);
  for (std::size_t done = 0; done < events; done += window) {
    for (std::size_t i = 0; i < window; ++i) world.track("user-" + std::to_string(next++ % users));
    const double start = thread_ns();
    while (world.queued() > 0) world.turn(milliseconds(1));
    spent += thread_ns() - start;
  }
  return spent / static_cast<double>((events + window - 1) / window * window);
}

/// The engine's part for an event: of others, while so many users' events wait to be sent again; and of those users',
/// when all of them go again.
std::pair<double, double> with_retries(std::size_t users) {
  Options options = options_for("http://127.0.0.1");
  options.delivery = DeliveryMode::event;
  options.max_connections = 32;
  World world(options);
  double others = 0;
  double again = 0;
  constexpr std::size_t beside = 1'000;
  const std::size_t rounds = std::clamp<std::size_t>(10'000 / users, 10, 100);
  for (std::size_t round = 0; round < rounds; ++round) {
    world.transport.refusing = true;
    for (std::size_t i = 0; i < users; ++i) {
      world.track("busy-" + std::to_string(i));
      world.track("user-" + std::to_string(i));  // or the server would seem to be gone
    }
    while (world.queued() > users) world.turn(milliseconds(0));
    for (std::size_t i = 0; i < beside; ++i) world.track("user-" + std::to_string(i));
    double start = thread_ns();
    while (world.queued() > users) world.turn(milliseconds(0));
    others += thread_ns() - start;
    world.transport.refusing = false;
    world.now += std::chrono::seconds(31);
    start = thread_ns();
    while (world.queued() > 0) world.turn(milliseconds(0));
    again += thread_ns() - start;
  }
  return {others / static_cast<double>(beside * rounds), again / static_cast<double>(users * rounds)};
}

/// The whole process's part for an event, where so many are sent in one go.
std::pair<double, double> with_events(const Options& options, std::size_t events, std::size_t of_users = 100) {
  Client client(options);
  client.track("user", "Order Completed", RawJson(order_text()));
  client.flush();
  std::vector<std::string> users;
  for (std::size_t i = 0; i < of_users; ++i) users.push_back("user-" + std::to_string(i));
  const std::size_t rounds = std::max<std::size_t>(1, 200'000 / events);
  const double cpu = process_ns();
  double called = 0;
  for (std::size_t round = 0; round < rounds; ++round) {
    const double start = thread_ns();
    for (std::size_t i = 0; i < events; ++i)
      client.track(users[i % of_users], "Order Completed", RawJson(order_text()));
    called += thread_ns() - start;
    client.flush();
  }
  const double n = static_cast<double>(events * rounds);
  return {called / n, (process_ns() - cpu) / n};
}

/// \returns the largest over the smallest.
double spread(const std::vector<double>& values) { return most(values) / least(values); }

template <class Measure>
double best_of(std::size_t rounds, Measure measure) {
  std::vector<double> values;
  for (std::size_t round = 0; round < rounds; ++round) values.push_back(measure());
  return least(values);
}

}  // namespace

int main(int count, char** arguments) {
  Report report(count, arguments);
  const std::size_t most_events = report.argument(0, 10'000'000);
  const std::size_t rounds = report.argument(1, 3);

  for (const auto& [mode, name] :
       {std::pair(DeliveryMode::batch, std::string("batch")), std::pair(DeliveryMode::event, std::string("event"))}) {
    std::vector<double> costs;
    for (std::size_t users = 1; users <= 1'000'000; users *= 100) {
      costs.push_back(best_of(rounds, [&] { return with_users(users, mode); }));
      report.add("engine_" + name + "_mode_" + std::to_string(users) + "_users_ns", costs.back());
    }
    report.add("engine_" + name + "_mode_users_spread_ratio", spread(costs));
  }
  std::vector<double> others;
  std::vector<double> again;
  for (std::size_t users = 1; users <= 10'000; users *= 10) {
    std::vector<double> of_others;
    std::vector<double> of_them;
    for (std::size_t round = 0; round < rounds; ++round) {
      const auto [other, retried] = with_retries(users);
      of_others.push_back(other);
      of_them.push_back(retried);
    }
    others.push_back(least(of_others));
    again.push_back(least(of_them));
    report.add("engine_beside_" + std::to_string(users) + "_users_in_retry_ns", others.back());
    report.add("engine_" + std::to_string(users) + "_users_retried_ns", again.back());
  }
  report.add("engine_beside_users_in_retry_spread_ratio", spread(others));
  report.add("engine_users_retried_spread_ratio", spread(again));

  const NullServer server;
  Options options = options_for(server.url());
  options.delivery = DeliveryMode::batch;
  std::vector<double> called;
  std::vector<double> whole;
  for (std::size_t events = 1'000; events <= most_events; events *= 10) {
    std::vector<double> of_caller;
    std::vector<double> of_process;
    for (std::size_t round = 0; round < (events > 1'000'000 ? 1 : rounds); ++round) {
      const auto [caller, process] = with_events(options, events);
      of_caller.push_back(caller);
      of_process.push_back(process);
    }
    called.push_back(least(of_caller));
    whole.push_back(least(of_process));
    report.add(std::to_string(events) + "_events_caller_ns", called.back());
    report.add(std::to_string(events) + "_events_process_ns", whole.back());
  }
  std::vector<double> of_users;
  for (std::size_t users = 1; users <= std::min<std::size_t>(most_events, 1'000'000); users *= 100) {
    of_users.push_back(best_of(rounds, [&] {
      return with_events(options, std::max<std::size_t>(users, std::min<std::size_t>(most_events, 200'000)), users)
          .second;
    }));
    report.add(std::to_string(users) + "_users_process_ns", of_users.back());
  }
  report.add("users_process_spread_ratio", spread(of_users));
  report.add("events_caller_spread_ratio", spread(called));
  report.add("events_process_spread_ratio", spread(whole));
}
