// Calls a second of many threads on one client, against one thread alone, in alternating rounds.
//
//     build/cmake/bench/cpp/bench_threads [--json] [events] [rounds] [threads]
#include <atomic>
#include <thread>

#include "measured.hpp"
#include "null_server.hpp"
#include "payload.hpp"

using namespace intilery;
using namespace intilery::bench;

namespace {

struct Rate {
  double called, delivered;  ///< A second.
};

Rate rate_of(const Options& options, std::size_t events, std::size_t threads) {
  Client client(options);
  std::atomic<bool> go{false};
  std::vector<std::thread> callers;
  for (std::size_t number = 0; number < threads; ++number) {
    callers.emplace_back([&, number] {
      const std::string user = "user-" + std::to_string(number);
      go.wait(false);
      for (std::size_t i = 0; i < events / threads; ++i) client.track(user, "Order Completed", RawJson(order_text()));
    });
  }
  const double start = wall_ns();
  go = true;
  go.notify_all();
  for (std::thread& caller : callers) caller.join();
  const double called = wall_ns();
  deliver_all(client);
  const double n = static_cast<double>(events / threads * threads);
  return {n * 1e9 / (called - start), n * 1e9 / (wall_ns() - start)};
}

}  // namespace

int main(int count, char** arguments) {
  Report report(count, arguments);
  const std::size_t events = report.argument(0, 400'000);
  const std::size_t rounds = report.argument(1, 7);
  const std::size_t threads = report.argument(2, 64);
  const NullServer server;
  Options options = options_for(server.url());
  options.delivery = DeliveryMode::batch;
  options.max_queue_bytes = 1'000'000'000;  // so that it is the calls that are measured, and no wait for room
  std::vector<double> one, many, one_delivered, many_delivered, ratio, delivered_ratio;
  for (std::size_t round = 0; round < rounds; ++round) {
    const Rate alone = rate_of(options, events, 1);
    const Rate together = rate_of(options, events, threads);
    one.push_back(alone.called);
    many.push_back(together.called);
    one_delivered.push_back(alone.delivered);
    many_delivered.push_back(together.delivered);
    ratio.push_back(together.called / alone.called);
    delivered_ratio.push_back(together.delivered / alone.delivered);
  }
  report.add("one_thread_calls_per_second", most(one));
  report.add("many_threads_calls_per_second", most(many));
  report.add("many_to_one_calls_ratio", median(ratio));
  report.add("one_thread_delivered_per_second", most(one_delivered));
  report.add("many_threads_delivered_per_second", most(many_delivered));
  report.add("many_to_one_delivered_ratio", median(delivered_ratio));
}
