/// \file
/// Whether it makes sense to send at all.
#pragma once

#include <cstdint>
#include <optional>

#include "delivery/backoff.hpp"
#include "queue/event.hpp"

namespace intilery::delivery {

using queue::TimePoint;

/// Closed while requests get through. It opens on a refused token at once, and after a few failures in a row that mean
/// the server is not there; then one request at a time probes, less and less often, until one gets through.
class Circuit {
 public:
  enum class Reason { unauthorised, unreachable };

  explicit Circuit(Backoff backoff) : backoff_(backoff) {}

  bool open() const { return open_; }
  /// When it opened. Only while open.
  TimePoint since() const { return since_; }

  bool allows(TimePoint now) const { return !open() || (probe_ == 0 && now >= next_probe_); }
  /// When it will allow a probe; nothing while one is under way, or while closed.
  std::optional<TimePoint> next_probe() const {
    if (!open() || probe_ != 0) return std::nullopt;
    return next_probe_;
  }

  /// A request leaves: while open, as the probe. \param request its number, not 0 and never used twice. By that an
  /// answer is known for the probe's; others, to what left before or for another circuit's sake, say nothing of it.
  void sent(std::uint64_t request) {
    if (open()) probe_ = request;
  }
  /// A request got an answer that shows the server well.
  void succeeded() { reset(); }
  /// \param at_least the server's own wish for the pause.
  /// \returns whether this opened it.
  bool failed(Reason reason, std::uint64_t request, TimePoint now, Backoff::Duration at_least) {
    const bool probe = request == probe_;
    probe_ended(request);
    ++in_a_row_;
    if (open()) {
      if (probe) pause(now, at_least);
      return false;
    }
    if (reason == Reason::unreachable && in_a_row_ < threshold) return false;
    open_ = true;
    since_ = now;
    pause(now, at_least);
    return true;
  }
  /// If it was the probe, that ended without telling anything.
  void probe_ended(std::uint64_t request) {
    if (request == probe_) probe_ = 0;
  }
  /// Whatever was wrong may be right now: probe at once.
  void retry_now(TimePoint now) {
    next_probe_ = now;
    probes_ = 0;
  }

 private:
  static constexpr int threshold = 3;

  void pause(TimePoint now, Backoff::Duration at_least) {
    next_probe_ = now + std::max(backoff_.next(++probes_), std::min(at_least, backoff_.longest()));
  }
  void reset() {
    open_ = false;
    probe_ = 0;
    in_a_row_ = 0;
    probes_ = 0;
  }

  Backoff backoff_;
  bool open_ = false;
  TimePoint since_{};
  TimePoint next_probe_{};
  std::uint64_t probe_ = 0;  ///< The request that probes; 0: none.
  int in_a_row_ = 0;
  int probes_ = 0;
};

}  // namespace intilery::delivery
