/// \file
/// Programs drawn at random, and what comes of them.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "simulation.hpp"

namespace intilery::simulator {

/// Which program: everything follows from this.
struct Program {
  std::uint64_t seed = 0;
  std::set<unsigned> skip = {};  ///< Actions that are left out.

  /// What `run` takes on the command line.
  std::string text() const;
};

struct Result {
  std::string broken;  ///< Which guarantee; empty: none.
  std::uint64_t hash = 0;
  std::chrono::duration<double> time{0};  ///< That passed in the simulation.
  unsigned actions = 0;
  Tally tally;
};

Result run(const Program& program, bool trace);

/// Leaves out what is not needed for something to be broken.
Program shrink(Program program, std::chrono::seconds patience);

}  // namespace intilery::simulator
