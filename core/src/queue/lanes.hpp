/// \file
/// The order of each user's events.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "queue/event_list.hpp"
#include "queue/lane_table.hpp"

namespace intilery::queue {

/// Events by user. A lane whose events are under way is held: none of its later events leaves before they have their
/// fate, so each user's events arrive in the order of the calls, while users do not wait for each other. Where an
/// identify was delivered, the lane settles for a while: no command leaves it (contract.md: a command reads what the
/// identify wrote); so it does where a command was adopted, for the identify may have been delivered by the process
/// before. A user has a lane for each brand, and only events of one brand leave together. For the I/O thread only.
class Lanes {
 public:
  /// How long a lane settles.
  static constexpr std::chrono::milliseconds settling_time{500};

  /// Appends each to its lane.
  void add(EventList events, TimePoint accepted);

  /// Events that may leave now in batches, and those that may leave only alone.
  std::size_t ready() const;
  bool any_alone() const { return oldest_alone().has_value(); }
  /// When the event that has waited longest for a batch was accepted, and when that which leaves next alone was.
  std::optional<TimePoint> oldest_ready() const;
  std::optional<TimePoint> oldest_alone() const;

  /// A brand that has something for a batch.
  struct Turn {
    std::uint16_t brand = 0;
    std::size_t ready = 0;  ///< Events.
    TimePoint oldest{};     ///< When the one that would leave first was accepted.
  };
  /// Whose turn it is: the brand's that has waited longest; but if that began after `aged`, a brand's that has `full`
  /// events. Looks at each brand once.
  std::optional<Turn> turn(TimePoint aged, std::size_t full) const;

  /// Takes the brand's next event, holding its lane. There must be one.
  EventPtr take_one(std::uint16_t brand);
  /// Takes the next event of any brand that must go alone.
  EventPtr take_alone();
  /// Takes the brand's events for a batch, holding their lanes: as many as fit into `bytes`, each costing `overhead`
  /// more than its own. At least one if there is any.
  EventList take_batch(std::uint16_t brand, std::size_t bytes, std::size_t overhead);

  /// Holds a brand's events back, or lets them go on: held, they are not ready.
  void hold(std::uint16_t brand, bool held) { of(brand).held = held; }
  /// Whether some of the brand's events could leave if it were not held.
  bool waits(std::uint16_t brand) const;

  /// The events have their fate: their lanes go on.
  void release(const EventList& events, bool delivered, TimePoint now);
  /// Lets go on what has settled.
  void settle(TimePoint now);
  /// When the next lane has settled.
  std::optional<TimePoint> next_settled() const;
  /// The events go back to where they were taken from, in their order.
  void put_back(EventList events);

  /// Takes out waiting events that were accepted before `moment`: those of one brand; rows, or all but rows.
  EventList take_older(TimePoint moment, std::uint16_t brand);
  EventList take_older_by_kind(TimePoint moment, bool rows);
  /// Takes out the waiting events that came first, `bytes` of them or more.
  EventList take_oldest(std::size_t bytes);
  /// Takes out everything that waits.
  EventList take_all();

 private:
  struct Lane {
    EventList waiting;
    std::uint32_t held = 0;      ///< Events of this lane that are under way.
    std::uint32_t settling = 0;  ///< Its entries in `settling_`.

    bool idle() const { return waiting.empty() && held == 0 && settling == 0; }
    /// Whether its first event must wait for something.
    bool blocked() const { return held > 0 || (settling > 0 && waiting.front()->commands); }
  };
  struct Brand {
    std::deque<std::uint64_t> ready;  ///< Lanes that are not blocked and begin with an event for a batch.
    std::deque<std::uint64_t> alone;  ///< Lanes that are not blocked and begin with an event that must go alone.
    std::size_t ready_events = 0;     ///< Events of the lanes in `ready`.
    bool held = false;
  };
  Brand& of(std::uint16_t brand);
  TimePoint first_of(const std::deque<std::uint64_t>& lanes) const;
  void make_ready(std::uint64_t key, const Lane& lane);
  void go_on(std::uint64_t key);
  EventPtr take_from(std::deque<std::uint64_t>& lanes);
  template <class Chosen>
  EventList take_if(Chosen chosen);

  LaneTable<Lane> lanes_;
  std::vector<Brand> brands_;                                 ///< By number.
  std::deque<std::pair<TimePoint, std::uint64_t>> settling_;  ///< Lanes by when they have settled.
};

}  // namespace intilery::queue
