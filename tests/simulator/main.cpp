// The simulator's command line: see CONTRIBUTING.md, or run it with nothing.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <sstream>
#include <string_view>

#include "fleet.hpp"
#include "program.hpp"

namespace intilery::simulator {
namespace {

using Clock = std::chrono::steady_clock;

void report(const Program& program, const Result& result) {
  std::printf("seed %llu is broken: %s\n", static_cast<unsigned long long>(program.seed), result.broken.c_str());
  const Program small = shrink(program, std::chrono::seconds(30));
  const Result again = run(small, false);
  std::printf("  shortest: %s (%zu of %u actions)\n", again.broken.c_str(), again.actions - small.skip.size(),
              again.actions);
  std::printf("  replay:   build/cmake/tests/simulator/intilery_simulator run %s\n", small.text().c_str());
}

/// Many programs: for so many seconds, or so many seeds, whichever ends first.
int many(std::uint64_t first, std::uint64_t count, double seconds, bool stop) {
  const Clock::time_point started = Clock::now();
  const auto passed = [&] { return std::chrono::duration<double>(Clock::now() - started).count(); };
  Tally sum;
  double hours = 0;
  std::uint64_t programs = 0;
  std::uint64_t failures = 0;
  for (std::uint64_t seed = first; programs < count && passed() < seconds; ++seed) {
    const Program program{.seed = seed};
    const Result result = run(program, false);
    ++programs;
    hours += result.time.count() / 3600;
    sum.calls += result.tally.calls;
    sum.requests += result.tally.requests;
    sum.throttled += result.tally.throttled;
    sum.kills += result.tally.kills;
    sum.lives += result.tally.lives;
    sum.twice += result.tally.twice;
    for (const auto& [code, number] : result.tally.codes) sum.codes[code] += number;
    if (result.broken.empty()) continue;
    ++failures;
    if (stop) {
      std::printf("seed %llu is broken: %s\n", static_cast<unsigned long long>(seed), result.broken.c_str());
      break;
    }
    report(program, result);
    if (failures >= 5) break;
  }
  std::printf(
      "%llu programs from seed %llu, %.0f simulated hours in %.1f s; %zu calls, %zu requests (%zu answered 429), "
      "%zu processes, %zu killed, %zu events arrived twice\n",
      static_cast<unsigned long long>(programs), static_cast<unsigned long long>(first), hours, passed(), sum.calls,
      sum.requests, sum.throttled, sum.lives, sum.kills, sum.twice);
  for (const auto& [code, number] : sum.codes) std::printf("  %s %zu\n", code.c_str(), number);
  std::printf("%s: %llu broken\n", failures == 0 ? "well" : "NOT WELL", static_cast<unsigned long long>(failures));
  return failures == 0 ? 0 : 1;
}

int one(const Program& program) {
  const Result result = run(program, true);
  const Result again = run(program, false);
  std::printf("trace %016llx%s, %.0f s simulated: %s\n", static_cast<unsigned long long>(result.hash),
              result.hash == again.hash ? "" : " (NOT THE SAME AGAIN)", result.time.count(),
              result.broken.empty() ? "well" : result.broken.c_str());
  return result.broken.empty() && result.hash == again.hash ? 0 : 1;
}

std::set<unsigned> ranges(const std::string& text) {
  std::set<unsigned> numbers;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const std::size_t dash = part.find('-');
    const auto from = static_cast<unsigned>(std::stoul(part));
    const auto to = dash == std::string::npos ? from : static_cast<unsigned>(std::stoul(part.substr(dash + 1)));
    for (unsigned i = from; i <= to; ++i) numbers.insert(i);
  }
  return numbers;
}

int usage() {
  std::puts(
      "intilery_simulator many [--seed FIRST] [--seeds N] [--seconds S] [--stop]   programs at random\n"
      "intilery_simulator run --seed N [--skip A-B,C]                     one, with its trace on stderr\n"
      "intilery_simulator fleets [--processes N]                         the table of docs/fleets.md\n"
      "intilery_simulator test [GoogleTest's options]                     the tests");
  return 2;
}

}  // namespace
}  // namespace intilery::simulator

int main(int count, char** words) {
  using namespace intilery::simulator;
  if (count < 2) return usage();
  const std::string_view command = words[1];
  if (command == "test") {
    testing::InitGoogleTest(&count, words);
    return RUN_ALL_TESTS();
  }
  Program program;
  std::uint64_t seeds = UINT64_MAX;
  double seconds = 1e9;
  std::size_t processes = 0;
  bool stop = false;
  for (int i = 2; i < count; ++i) {
    const std::string_view word = words[i];
    if (word == "--stop") {
      stop = true;
      continue;
    }
    if (i + 1 == count) return usage();
    const std::string value = words[++i];
    if (word == "--seed")
      program.seed = std::stoull(value);
    else if (word == "--seeds")
      seeds = std::stoull(value);
    else if (word == "--seconds")
      seconds = std::stod(value);
    else if (word == "--processes")
      processes = std::stoull(value);
    else if (word == "--skip")
      program.skip = ranges(value);
    else
      return usage();
  }
  if (command == "many") return many(program.seed, seeds, seconds, stop);
  if (command == "run") return one(program);
  if (command == "fleets") return fleets(processes);
  return usage();
}
