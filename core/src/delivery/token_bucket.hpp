/// \file
/// The account's pace.
#pragma once

#include <algorithm>
#include <chrono>

#include "queue/event.hpp"

namespace intilery::delivery {

using queue::TimePoint;

/// A token bucket that stays a little below the server's, so that requests which catch up with each other on the way do
/// not overrun it. For one thread.
class TokenBucket {
 public:
  /// \param rate tokens a second. \param burst the server's capacity; the bucket starts full.
  TokenBucket(double rate, double burst, TimePoint now)
      : rate_(rate), capacity_(capacity_of(burst)), level_(capacity_), at_(now) {}

  /// From now on tokens come at another rate, into a bucket of another size.
  void set_rate(double rate, double burst, TimePoint now) {
    refill(now);
    rate_ = rate;
    capacity_ = capacity_of(burst);
    level_ = std::min(level_, capacity_);
  }

  double available(TimePoint now) {
    refill(now);
    return level_;
  }
  /// Takes one token; there must be one.
  void take(TimePoint now) {
    refill(now);
    level_ -= 1;
  }
  bool full(TimePoint now) { return available(now) >= capacity_; }
  /// The server's full bucket begins to refill when the first request arrives there, which nobody here sees: until
  /// `let_go`, when there is an answer, no token comes.
  void hold(TimePoint now) {
    refill(now);
    held_ = true;
  }
  void let_go(TimePoint now) {
    refill(now);
    held_ = false;
  }
  bool held() const { return held_; }
  /// There is nothing left, and nothing comes before `until`.
  void drain(TimePoint until) {
    refill(until);
    level_ = std::min(level_, 0.0);
  }
  /// Takes a token that may not be there yet. \returns when it will be.
  TimePoint reserve(TimePoint now) {
    refill(now);
    level_ -= 1;
    if (level_ >= 0) return now;
    const std::chrono::duration<double> wait(-level_ / rate_);
    return std::max(now, at_) + std::chrono::ceil<std::chrono::steady_clock::duration>(wait);
  }
  /// When there will be a token.
  TimePoint next(TimePoint now) {
    refill(now);
    if (level_ >= 1) return now;
    const std::chrono::duration<double> wait((1 - level_) / rate_);
    return std::max(now, at_) + std::chrono::ceil<std::chrono::steady_clock::duration>(wait);
  }

 private:
  static constexpr double held_back = 0.02;

  static double capacity_of(double burst) { return std::max(1.0, burst - std::max(1.0, burst * held_back)); }
  void refill(TimePoint now) {
    if (now <= at_) return;
    if (!held_) level_ = std::min(capacity_, level_ + rate_ * std::chrono::duration<double>(now - at_).count());
    at_ = now;
  }

  double rate_;
  double capacity_;
  double level_;
  TimePoint at_;
  bool held_ = false;
};

}  // namespace intilery::delivery
