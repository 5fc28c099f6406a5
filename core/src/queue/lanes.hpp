/// \file
/// The order of each user's events.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>

#include "queue/event_list.hpp"

namespace intilery::queue {

/// Events by user. A lane whose events are under way is held: none of its later events leaves before they have their
/// fate, so each user's events arrive in the order of the calls, while users do not wait for each other. Where an
/// identify was delivered, the lane settles for a while: no command leaves it (contract.md: a command reads what the
/// identify wrote). For the I/O thread only.
class Lanes {
 public:
  /// How long a lane settles.
  static constexpr std::chrono::milliseconds settling_time{500};

  /// Appends to the event's lane.
  void add(EventPtr event);

  /// Events that may leave now in a batch, and those that may leave only alone.
  std::size_t ready() const { return ready_events_; }
  bool any_alone() const { return !alone_.empty(); }
  /// When the event that would leave next was accepted.
  std::optional<TimePoint> oldest_ready() const;
  std::optional<TimePoint> oldest_alone() const;

  /// Takes the next event, holding its lane. There must be one.
  EventPtr take_one();
  EventPtr take_alone();
  /// Takes events for a batch, holding their lanes: as many as fit into `bytes`, each costing `overhead` more than its
  /// own. At least one if there is any.
  EventList take_batch(std::size_t bytes, std::size_t overhead);

  /// The events have their fate: their lanes go on.
  void release(const EventList& events, bool delivered, TimePoint now);
  /// Lets go on what has settled.
  void settle(TimePoint now);
  /// When the next lane has settled.
  std::optional<TimePoint> next_settled() const;
  /// The events go back to where they were taken from, in their order.
  void put_back(EventList events);

  /// Takes out waiting events that were accepted before `moment`.
  EventList take_older(TimePoint moment);
  /// Takes out the waiting events that came first, `bytes` of them or more.
  EventList take_oldest(std::size_t bytes);
  /// Takes out everything that waits.
  EventList take_all();

 private:
  struct Lane {
    EventList waiting;
    std::size_t held = 0;      ///< Events of this lane that are under way.
    std::size_t settling = 0;  ///< Its entries in `settling_`.

    bool idle() const { return waiting.empty() && held == 0 && settling == 0; }
    /// Whether its first event must wait for something.
    bool blocked() const { return held > 0 || (settling > 0 && waiting.front()->commands); }
  };
  using Map = std::unordered_map<std::uint64_t, Lane>;
  void make_ready(Map::value_type& lane);
  void go_on(std::uint64_t key);
  EventPtr take_from(std::deque<std::uint64_t>& lanes);
  template <class Chosen>
  EventList take_if(Chosen chosen);

  Map lanes_;
  std::deque<std::uint64_t> ready_;  ///< Lanes that are not blocked and begin with an event for a batch.
  std::deque<std::uint64_t> alone_;  ///< Lanes that are not blocked and begin with an event that must go alone.
  std::deque<std::pair<TimePoint, std::uint64_t>> settling_;  ///< Lanes by when they have settled.
  std::size_t ready_events_ = 0;                              ///< Events of the lanes in `ready_`.
};

}  // namespace intilery::queue
