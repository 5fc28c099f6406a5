/// \file
/// How long to wait before the next attempt.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <random>

namespace intilery::delivery {

/// Exponential backoff with full jitter: uniform between nothing and initial * 2^n, at most `longest`.
class Backoff {
 public:
  using Duration = std::chrono::milliseconds;

  Backoff(Duration initial, Duration longest, std::uint64_t seed)
      : initial_(initial), longest_(longest), random_(seed) {}

  /// \param failures how often it failed so far, at least 1.
  Duration next(int failures) {
    double bound = static_cast<double>(initial_.count());
    for (int i = 1; i < failures && bound < static_cast<double>(longest_.count()); ++i) bound *= 2;
    bound = std::min(bound, static_cast<double>(longest_.count()));
    return Duration(std::llround(std::uniform_real_distribution<double>(0, bound)(random_)));
  }
  Duration longest() const { return longest_; }

 private:
  Duration initial_;
  Duration longest_;
  std::mt19937_64 random_;
};

}  // namespace intilery::delivery
