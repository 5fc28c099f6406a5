// What the core's parts cost the calling thread, for one "Order Completed": track() as JSON text and as nlohmann::json
// beside that value's own dump(), and the parts of the way by themselves. Processor time of the calling thread.
//
//     bench_core [--json] [--quick] [Google Benchmark's own flags]
//
// The events go to the server that INTILERY_BENCH_ENDPOINT names; without it, nothing is sent (a dry run).
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "event/encoder.hpp"
#include "event/json_check.hpp"
#include "event/json_value.hpp"
#include "event/json_writer.hpp"
#include "intilery/intilery.hpp"
#include "payload.hpp"
#include "queue/bounded_queue.hpp"

namespace {

using namespace intilery;
using bench::order;
using bench::order_text;

constexpr std::int64_t calls_between_flushes = 20'000;
constexpr std::string_view user = "ABC/123456";
constexpr std::string_view name = "Order Completed";

Options options() {
  const char* endpoint = std::getenv("INTILERY_BENCH_ENDPOINT");
  Options given{.client_id = "hea", .account_id = "hea", .brand_id = "HEA", .auth_token = "sandbox-token"};
  given.delivery = DeliveryMode::batch;
  given.rate_limit = 100'000;
  given.dry_run = endpoint == nullptr;
  if (endpoint != nullptr) given.endpoint = endpoint;
  return given;
}

template <class Properties>
void track(benchmark::State& state, const Properties& properties) {
  Client client(options());
  std::int64_t calls = 0;
  for (auto _ : state) {
    client.track(user, name, properties);
    if (++calls % calls_between_flushes == 0) {  // the queue must not fill
      state.PauseTiming();
      client.flush();
      state.ResumeTiming();
    }
  }
  client.flush();
  if (client.stats().failed != 0) state.SkipWithError("events failed: the measured time means nothing");
}

void track_raw(benchmark::State& state) { track(state, RawJson(order_text())); }
void track_json(benchmark::State& state) { track(state, order()); }
void dump(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(order().dump());
}

void json_writer(benchmark::State& state) {
  event::JsonWriter out;
  for (auto _ : state) {
    out.clear();
    event::write_json(out, order());
    benchmark::DoNotOptimize(out.view().data());
  }
}

void json_check(benchmark::State& state) {
  for (auto _ : state) event::check_json(order_text());
}

void encoder(benchmark::State& state) {
  const event::Encoder encoder(options(), "bench", "0");
  event::Draft draft;
  draft.user_id = user;
  draft.event = name;
  draft.body = {&order_text(), [](event::JsonWriter& out, const void* text) {
                  out.literal(*static_cast<const std::string*>(text));  // known to be right: the encoder's own part
                }};
  for (auto _ : state) {
    event::MessageId id;
    benchmark::DoNotOptimize(encoder.encode(draft, id));
  }
}

void queue_push(benchmark::State& state) {
  queue::BoundedQueue queue(1'000'000'000);
  std::int64_t pushed = 0;
  for (auto _ : state) {
    queue::EventPtr event = queue::Event::make(order_text());
    if (queue.push(event) == queue::BoundedQueue::Push::full) state.SkipWithError("full");
    if (++pushed % calls_between_flushes == 0) {
      state.PauseTiming();
      const queue::EventList taken = queue.take();
      queue.count(taken, "");
      queue.conclude(taken, true);
      state.ResumeTiming();
    }
  }
}

/// Keeps the best of each benchmark's repetitions, whatever else is said.
class Best : public benchmark::ConsoleReporter {
 public:
  explicit Best(bool quiet) : benchmark::ConsoleReporter(OO_Tabular), quiet_(quiet) {}

  bool ReportContext(const Context& context) override { return quiet_ || ConsoleReporter::ReportContext(context); }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.error_occurred) throw std::runtime_error(run.error_message);
      if (run.run_type == Run::RT_Aggregate) continue;
      const double ns = run.GetAdjustedCPUTime();
      const auto [best, added] = ns_.emplace(run.run_name.function_name, ns);
      if (!added && ns < best->second) best->second = ns;
    }
    if (!quiet_) ConsoleReporter::ReportRuns(runs);
  }

  nlohmann::ordered_json figures() const {
    nlohmann::ordered_json figures;
    for (const auto& [subject, ns] : ns_) figures[subject + "_ns"] = ns;
    figures["track_json_to_dump_ratio"] = ns_.at("track_json") / ns_.at("dump");
    return figures;
  }

 private:
  bool quiet_;
  std::map<std::string, double> ns_;
};

BENCHMARK(track_raw);
BENCHMARK(track_json);
BENCHMARK(dump);
BENCHMARK(json_writer);
BENCHMARK(json_check);
BENCHMARK(encoder);
BENCHMARK(queue_push);

}  // namespace

int main(int count, char** arguments) {
  bool json = false;
  std::vector<std::string> flags{arguments[0], "--benchmark_enable_random_interleaving=true"};  // side by side
  std::string time = "0.2";
  std::string repetitions = "7";
  for (int i = 1; i < count; ++i) {
    if (std::string_view(arguments[i]) == "--json") {
      json = true;
    } else if (std::string_view(arguments[i]) == "--quick") {
      time = "0.02";
      repetitions = "3";
    } else {
      flags.emplace_back(arguments[i]);
    }
  }
  flags.insert(flags.begin() + 1, {"--benchmark_min_time=" + time, "--benchmark_repetitions=" + repetitions});
  std::vector<char*> pointers;
  for (std::string& flag : flags) pointers.push_back(flag.data());
  int size = static_cast<int>(pointers.size());
  benchmark::Initialize(&size, pointers.data());
  if (benchmark::ReportUnrecognizedArguments(size, pointers.data())) return 2;
  Best best(json);
  benchmark::RunSpecifiedBenchmarks(&best);
  const nlohmann::ordered_json figures = best.figures();
  if (json) {
    std::puts(figures.dump().c_str());
  } else {
    for (const auto& [subject, value] : figures.items()) std::printf("%-28s %10.2f\n", subject.c_str(), double(value));
  }
}
