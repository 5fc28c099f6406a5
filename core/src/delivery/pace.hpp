/// \file
/// When requests may leave.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <optional>

#include "queue/event.hpp"

namespace intilery::delivery {

using queue::TimePoint;

/// How long to stay silent after a 429 that does not say: until a fifth of the burst could be there again.
inline std::chrono::milliseconds usual_pause(double rate, double burst) {
  return std::chrono::milliseconds(std::llround(std::clamp(200 * burst / rate, 50.0, 1'000.0)));
}

/// The account's pace, as this client keeps it. For the I/O thread.
class Pace {
 public:
  virtual ~Pace() = default;

  /// Whether a request may leave now. \param wanted how many would, at least one; exact up to `foresight`.
  virtual bool allows(TimePoint now, std::size_t wanted) = 0;
  /// How many requests this can prepare for at once.
  virtual std::size_t foresight() const { return 1; }
  /// When to ask again; nothing: somebody will wake the I/O thread. Only where something waits.
  virtual std::optional<TimePoint> next(TimePoint now) = 0;
  /// A request leaves. It must be allowed.
  virtual void take(TimePoint now) = 0;
  /// A request is over. \param served whether the server took it out of its bucket, as far as one knows.
  virtual void answered(bool served, TimePoint now) = 0;
  /// The server said 429.
  /// \param sent when the request had left. \param wish the server's `Retry-After`.
  virtual void throttled(TimePoint sent, std::optional<std::chrono::milliseconds> wish, TimePoint now) = 0;

  /// Requests that could leave one right after the other.
  virtual double level(TimePoint now) = 0;
  /// Whether a 429 holds everything back.
  virtual bool paused(TimePoint now) const = 0;
};

}  // namespace intilery::delivery
