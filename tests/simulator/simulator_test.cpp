// A few seconds of what `make simulate` does for long, and each program that once found something.
#include <gtest/gtest.h>

#include "program.hpp"

namespace intilery::simulator {
namespace {

TEST(Simulator, TwoHundredProgramsKeepTheGuarantees) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const Program program{.seed = seed};
    EXPECT_EQ(run(program, false).broken, "") << "intilery_simulator run " << program.text();
  }
}

TEST(Simulator, AProgramRunsTheSameAgain) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    EXPECT_EQ(run({.seed = seed}, false).hash, run({.seed = seed}, false).hash) << seed;
  }
}

}  // namespace
}  // namespace intilery::simulator
