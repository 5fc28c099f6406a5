/// \file
/// Whether it makes sense to send at all.
#pragma once

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

  bool allows(TimePoint now) const { return !open() || (!probing_ && now >= next_probe_); }
  /// When it will allow a probe; nothing while one is under way, or while closed.
  std::optional<TimePoint> next_probe() const {
    if (!open() || probing_) return std::nullopt;
    return next_probe_;
  }

  /// A request leaves. \returns whether it is a probe.
  bool sent() {
    if (open()) probing_ = true;
    return open();
  }
  /// A request got an answer that shows the server well.
  void succeeded() { reset(); }
  /// \param at_least the server's own wish for the pause.
  /// \returns whether this opened it.
  bool failed(Reason reason, bool probe, TimePoint now, Backoff::Duration at_least) {
    if (probe) probing_ = false;
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
  /// A probe ended without telling anything.
  void probe_ended() { probing_ = false; }
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
    probing_ = false;
    in_a_row_ = 0;
    probes_ = 0;
  }

  Backoff backoff_;
  bool open_ = false;
  TimePoint since_{};
  TimePoint next_probe_{};
  bool probing_ = false;
  int in_a_row_ = 0;
  int probes_ = 0;
};

}  // namespace intilery::delivery
