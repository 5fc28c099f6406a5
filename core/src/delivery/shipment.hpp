/// \file
/// Events that travel together.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "delivery/verdict.hpp"
#include "queue/event_list.hpp"

namespace intilery::delivery {

using queue::TimePoint;

/// The events of one request: the unit of sending, retrying and splitting.
struct Shipment {
  queue::EventList events;
  Route route = Route::event;
  int attempts = 0;               ///< Requests so far.
  int failures = 0;               ///< Of those, the ones that count for backoff and `max_retries`.
  bool may_have_arrived = false;  ///< Some attempt was never answered.
  std::uint64_t request = 0;      ///< Number of the last attempt.
  std::optional<TimePoint> failing_since;
  TimePoint left{};        ///< Of the last attempt.
  TimePoint not_before{};  ///< Of the next attempt.
  Verdict last;            ///< What the last attempt came to.
  int last_status = 0;
  std::string last_body;
  std::string separator;                  ///< What goes behind each event (`event::closing`), and a comma for batches.
  std::vector<const queue::Event*> sent;  ///< The events of the last `body`.
  std::unique_ptr<Shipment> next;         ///< Goes once this one is settled: the same user's later events.

  /// All its events are of one.
  std::uint16_t brand() const { return events.front()->brand; }
  /// Bytes of the request's body.
  std::size_t body_size() const;
  /// Stamps the events with the moment of leaving and lists the body's parts. They stay valid while this lives.
  std::vector<std::string_view> body(std::int64_t unix_ms);
  /// Has the caches fetch the events' headers, all at once: after a request they are long cold, and each is found only
  /// by the one before.
  void prefetch() const;
  /// Halves a batch of more than one event. Each user's events stay in one half, so that the halves are independent;
  /// the events of a single user become this shipment and its `next`.
  /// \returns the other half, if it is independent.
  std::unique_ptr<Shipment> split();
  /// Whether it carries a row of a source.
  bool has_rows() const;
  /// Takes out what is no row. \returns null if there is nothing of that.
  std::unique_ptr<Shipment> part_from_rows();
};

}  // namespace intilery::delivery
