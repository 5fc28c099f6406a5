/// \file
/// Whether the rows of a source arrived.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "queue/event.hpp"
#include "readback/sought.hpp"
#include "readback/sweep.hpp"

namespace intilery::rows {

/// First gets the events that the rows would become, then reads back which are there. A millisecond that holds more
/// events than can be read (Sweep) is read by profile: for that the rows must come once more. For one thread.
class RowProof {
 public:
  /// A row's event. \param timed the row itself says when it happened.
  void add(std::uint64_t row, const queue::Event& event, bool timed);
  /// All rows have come.
  void seal();

  /// Wants a span of time read; without an end, all that comes after the start.
  void sweep(std::int64_t start_ms, std::optional<std::int64_t> end_ms);
  /// The page to be read next; nothing when all that was wanted is read.
  std::optional<readback::PageQuery> next();
  void take(const nlohmann::json& events);

  /// If something could not be read, wants it read by profile: the rows must be added once more. False: all was read.
  bool gather();

  /// The time of the first and the last row that has one.
  std::optional<std::pair<std::int64_t, std::int64_t>> span() const;
  std::uint64_t untimed() const { return untimed_; }
  std::uint64_t pages() const { return pages_; }
  const readback::Sought& sought() const { return sought_; }

 private:
  void ask_profile(const queue::Event& event);

  readback::Sought sought_;
  bool sealed_ = false;
  std::int64_t first_ms_ = std::numeric_limits<std::int64_t>::max();
  std::int64_t last_ms_ = std::numeric_limits<std::int64_t>::min();
  std::uint64_t untimed_ = 0;
  std::uint64_t pages_ = 0;
  std::deque<readback::Sweep> sweeps_;
  std::set<std::int64_t> crowded_;              ///< Milliseconds.
  std::unordered_set<std::uint64_t> gathered_;  ///< Hashes of the users that were asked for, each with its millisecond.
};

}  // namespace intilery::rows
