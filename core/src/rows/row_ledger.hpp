/// \file
/// The fates of a source's rows.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "client_core.hpp"

namespace intilery::rows {

/// `rows == delivered + rejected + failed`, but for those that have no fate yet.
struct Tally {
  std::uint64_t rows = 0;
  std::uint64_t delivered = 0;
  std::uint64_t rejected = 0;  ///< Never became events.
  std::uint64_t failed = 0;
  std::uint64_t resent = 0;  ///< Of the rows with a fate, those that more than one request carried.
};

struct FailedRow {
  std::uint64_t row = 0;
  ErrorInfo error;
  std::string event;  ///< Its JSON text.
};

struct Progress {
  Tally total;
  Tally settled;                  ///< Of the rows up to `through`.
  std::uint64_t through = 0;      ///< The last row before which, and with which, everything has its fate.
  std::vector<FailedRow> failed;  ///< Since the last time.
};

/// Follows rows from the source to their fates, in memory that is bounded by the queue's. `begin` and `reject` come
/// from one thread, in the order of the rows; the rest from any.
class RowLedger : public std::enable_shared_from_this<RowLedger> {
 public:
  /// \param through the rows up to this one have had their fates in an earlier run.
  explicit RowLedger(std::uint64_t through) { progress_.through = through; }

  /// A row is about to be submitted. \returns its tag. If the submit throws, `forget` must follow.
  std::uintptr_t begin(std::uint64_t row);
  /// The row that was begun last will not have a fate: it is rejected, or, if it is not, was never there.
  void forget(std::uintptr_t tag, bool rejected);
  /// A row that cannot be an event.
  void reject(std::uint64_t row);

  /// Whether a fate is one of a ledger's rows; a tag of anything else is even.
  static bool owns(std::uintptr_t tag) { return (tag & 1) != 0; }
  /// Books fates, each of which one of the ledgers owns. An event that fails because its client is closed has none.
  static void settle(std::span<const Finished> group);

  Progress take();

 private:
  enum class Fate : std::uint8_t { none, delivered, rejected, failed };
  struct Row {
    std::uint64_t number = 0;
    Fate fate = Fate::none;
    bool resent = false;
  };
  struct Tag {
    std::shared_ptr<RowLedger> ledger;
    std::uint64_t place;
  };

  void settle(std::uint64_t place, const Finished& finished);
  void advance();

  std::mutex mutex_;
  std::deque<Row> window_;   ///< From the first row without a fate on.
  std::uint64_t first_ = 0;  ///< The place of the window's first row.
  Progress progress_;
};

}  // namespace intilery::rows
