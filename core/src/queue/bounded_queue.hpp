/// \file
/// Where callers and the I/O thread meet: what was accepted, what waits, and what became of it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <limits>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "intilery/delivery.hpp"
#include "queue/event_list.hpp"
#include "waiting.hpp"

namespace intilery::queue {

/// A queue bounded in bytes, and the ledger of its events: accepted = delivered + failed + queued, always.
/// One lock guards both. Every member may be called from any thread unless it says otherwise.
class BoundedQueue {
 public:
  explicit BoundedQueue(std::size_t max_bytes) : max_bytes_(max_bytes) {}

  enum class Push { accepted, accepted_wake, full, closed };

  /// Appends, taking the event only if it is accepted. `accepted_wake`: the I/O thread sleeps and should be woken.
  /// An empty queue takes any event, however large.
  Push push(EventPtr& event);

  /// Appends events that were accepted once already, whether there is room or not.
  void restore(EventList events);

  /// Waits until `footprint` more bytes would fit, or the queue is closed. False at the deadline.
  bool wait_for_space(std::size_t footprint, TimePoint deadline, Waiting& waiting);

  /// Counts an event that failed without ever being queued.
  void count_refused(const std::string& reason);

  /// How many bytes are too many for `footprint` more to fit.
  std::size_t excess(std::size_t footprint) const;

  /// No push is accepted any more.
  void close();
  bool closed() const;

  /// For the I/O thread: all that was pushed since the last call.
  EventList take();

  /// For the I/O thread: it is about to sleep, and wants to be woken once `count` events wait here. False: they do.
  bool sleep_until(std::size_t count);

  /// First half of a fate, before anybody is told: the counters, and the bytes, so that whoever hears of it finds room.
  void count(const EventList& events, const std::string& failure);
  /// Second half, after the observers were told: flushes see the events.
  void conclude(const EventList& events, bool delivered);

  /// Waits until every event accepted so far is concluded, or the deadline.
  Flush flush(std::optional<TimePoint> deadline, Waiting& waiting, const std::function<void()>& started);
  /// Whether every event is concluded.
  bool is_idle() const;
  /// Calls `told` once that is so, on the I/O thread and without the lock. False: it is so now; nothing is remembered.
  bool when_idle(std::function<void()> told);
  /// Whether a flush is under way.
  bool flushing() const;

  /// Fills in what this class knows.
  void fill(Stats& stats) const;

 private:
  struct Marker {
    std::uint64_t through = 0;  ///< Counts events up to this sequence.
    Flush seen;
  };

  void append(EventPtr event);
  /// Events that are not concluded. With the lock held.
  std::uint64_t remaining() const { return accepted_ - refused_ - concluded_; }

  mutable std::mutex mutex_;
  std::condition_variable changed_;  ///< Space was freed, or a flush is complete.
  const std::size_t max_bytes_;
  EventList incoming_;
  std::size_t wake_at_ = std::numeric_limits<std::size_t>::max();
  bool closed_ = false;
  std::size_t bytes_ = 0;  ///< Of events without a fate.
  std::uint64_t concluded_ = 0;
  std::uint64_t accepted_ = 0;  ///< Also the last sequence.
  std::uint64_t refused_ = 0;   ///< Of the accepted, those that were never queued.
  std::uint64_t delivered_ = 0;
  std::uint64_t failed_ = 0;
  std::map<std::string, std::uint64_t> failed_by_reason_;
  std::list<Marker*> markers_;
  std::vector<std::function<void()>> when_idle_;
  std::size_t space_waiters_ = 0;
};

}  // namespace intilery::queue
