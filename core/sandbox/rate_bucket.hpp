/// \file
/// The server's side of the account's rate.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>

namespace intilery::testing {

/// A token bucket that starts full (the guide: 100 requests a second with a burst of 500). Not thread-safe.
class RateBucket {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  /// \param rate tokens a second; 0: no limit.
  RateBucket(double rate, double burst, TimePoint now) : rate_(rate), burst_(burst), level_(burst), at_(now) {}

  /// Takes a token if there is one.
  bool take(TimePoint now) {
    if (rate_ <= 0) return true;
    refill(now);
    if (level_ < 1) return false;
    level_ -= 1;
    return true;
  }
  double level(TimePoint now) {
    refill(now);
    return level_;
  }
  /// Whole seconds until there is a token again, at least one: what `Retry-After` can say.
  long retry_after(TimePoint now) {
    refill(now);
    return std::max(1L, std::lround(std::ceil((1 - level_) / rate_)));
  }
  void fill() { level_ = burst_; }

 private:
  void refill(TimePoint now) {
    if (now <= at_) return;
    level_ = std::min(burst_, level_ + rate_ * std::chrono::duration<double>(now - at_).count());
    at_ = now;
  }

  double rate_;
  double burst_;
  double level_;
  TimePoint at_;
};

}  // namespace intilery::testing
