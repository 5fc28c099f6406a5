// A few seconds of what `make simulate` does for long, and each program that once found something.
#include <gtest/gtest.h>

#include "program.hpp"

namespace intilery::simulator {
namespace {

std::string broken(const Program& program) { return run(program, false).broken; }

std::set<unsigned> all_but(unsigned actions, const std::set<unsigned>& kept) {
  std::set<unsigned> others;
  for (unsigned i = 0; i < actions; ++i) {
    if (!kept.contains(i)) others.insert(i);
  }
  return others;
}

TEST(Simulator, AHundredProgramsKeepTheGuarantees) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    const Program program{.seed = seed};
    EXPECT_EQ(run(program, false).broken, "") << "intilery_simulator run " << program.text();
  }
}

// What once was broken. Each program was cut down to the actions that it took.

TEST(Simulator, AReadingThatLeftBeforeTheServerWentAwayLetsNoSecondProbeGo) {
  EXPECT_EQ(broken({.seed = 12, .skip = all_but(67, {38, 40, 41, 42, 43})}), "");
}

TEST(Simulator, AClockThatIsSetBackDoesNotTurnAUsersEventsAroundInTheSpool) {
  EXPECT_EQ(broken({.seed = 85, .skip = all_but(67, {10, 16, 17, 19, 22, 23})}), "");
  EXPECT_EQ(broken({.seed = 107, .skip = all_but(59, {16, 21, 22, 25})}), "");
  EXPECT_EQ(broken({.seed = 134, .skip = all_but(59, {2, 6, 12, 14, 18})}), "");
}

TEST(Simulator, AProgramRunsTheSameAgain) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    EXPECT_EQ(run({.seed = seed}, false).hash, run({.seed = seed}, false).hash) << seed;
  }
}

}  // namespace
}  // namespace intilery::simulator
