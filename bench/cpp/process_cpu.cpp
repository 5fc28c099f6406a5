// What an event costs the whole process, from the call to the acknowledgement, in batches to a null server; and how
// much longer all of it takes than the calling loop by itself (the calling thread's own time, its waits for room left
// out).
//
//     build/cmake/bench/cpp/bench_process_cpu [--json] [events] [rounds] [users]
#include "measured.hpp"
#include "null_server.hpp"
#include "payload.hpp"

using namespace intilery;
using namespace intilery::bench;

namespace {

struct Cost {
  double caller_ns, process_ns, wall_ns;
};

/// For each event, where `client` gets so many of so many users.
Cost send(Client& client, std::size_t events, std::size_t users) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < users; ++i) names.push_back("user-" + std::to_string(i));
  const double wall = wall_ns();
  const double process = process_ns();
  const double caller = thread_ns();
  for (std::size_t i = 0; i < events; ++i) client.track(names[i % users], "Order Completed", RawJson(order_text()));
  const double caller_end = thread_ns();
  deliver_all(client);
  const double n = static_cast<double>(events);
  const Cost cost{(caller_end - caller) / n, (process_ns() - process) / n, (wall_ns() - wall) / n};
  return cost;
}

}  // namespace

int main(int count, char** arguments) {
  Report report(count, arguments);
  const std::size_t events = report.argument(0, 1'000'000);
  const std::size_t rounds = report.argument(1, 5);
  const std::size_t users = report.argument(2, 1'000);
  const NullServer server;
  Options options = options_for(server.url());
  options.delivery = DeliveryMode::batch;
  std::vector<double> caller, process, wall, ratio, wall_ratio;
  {
    Client warm(options);
    send(warm, events / 10, users);
  }
  for (std::size_t round = 0; round < rounds; ++round) {
    Client client(options);
    const Cost cost = send(client, events, users);
    caller.push_back(cost.caller_ns);
    process.push_back(cost.process_ns);
    wall.push_back(cost.wall_ns);
    ratio.push_back(cost.process_ns / cost.caller_ns);
    wall_ratio.push_back(cost.wall_ns / cost.caller_ns);
  }
  report.add("caller_cpu_per_event_ns", median(caller));
  report.add("process_cpu_per_event_ns", median(process));
  report.add("process_cpu_per_event_best_ns", least(process));
  report.add("process_to_caller_ratio", median(ratio));
  report.add("process_to_caller_best_ratio", least(ratio));
  report.add("wall_per_event_ns", median(wall));
  report.add("wall_per_event_best_ns", least(wall));
  report.add("wall_to_loop_ratio", median(wall_ratio));
  report.add("wall_to_loop_best_ratio", least(wall_ratio));
}
