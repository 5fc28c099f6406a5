/// \file
/// The fates of a source's rows.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "client_core.hpp"
#include "rows/row_ranges.hpp"

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
  RowRanges settled;               ///< The rows with a fate, those of earlier runs too.
  std::vector<FailedRow> failed;   ///< Since the last time.
  std::optional<ErrorInfo> ended;  ///< Why rows were given back without a fate: the run cannot go on.
};

/// Follows rows from the source to their fates, in memory that is bounded by the queue's. `begin` and `reject` come
/// from one thread; the rest from any.
class RowLedger : public std::enable_shared_from_this<RowLedger> {
 public:
  /// \param before the rows that have had their fates in earlier runs.
  explicit RowLedger(RowRanges before) { progress_.settled = std::move(before); }

  /// A row is about to be submitted. \returns its tag. If the submit throws, `forget` must follow.
  std::uintptr_t begin(std::uint64_t row);
  /// The row that was begun last will not have a fate: it is rejected, or, if it is not, was never there.
  void forget(std::uintptr_t tag, bool rejected);
  /// A row that cannot be an event.
  void reject(std::uint64_t row);

  /// Whether a fate is one of a ledger's rows; a tag of anything else is even.
  static bool owns(std::uintptr_t tag) { return (tag & 1) != 0; }
  /// Books fates, each of which one of the ledgers owns. An event that fails because its client is closed, or because
  /// the service was away for too long, has none: its row can be sent again.
  static void settle(std::span<const Finished> group);

  Progress take();

 private:
  struct Tag {
    RowLedger* ledger;
    union {
      std::uint64_t row;
      Tag* next;  ///< While it is free.
    };
  };

  static Tag* tag_of(std::uintptr_t tag) { return reinterpret_cast<Tag*>(tag & ~std::uintptr_t{1}); }
  void settle_own(std::span<const Finished> group);
  void fail(std::uint64_t row, const Finished& finished);
  /// \returns the row.
  std::uint64_t release(std::uintptr_t tag);

  std::mutex mutex_;  ///< Guards all of these.
  Progress progress_;
  std::vector<std::unique_ptr<Tag[]>> tags_;  ///< As many as were under way at once.
  Tag* free_ = nullptr;
  std::size_t under_way_ = 0;
  std::shared_ptr<RowLedger> self_;  ///< Outlives the rows that are under way.
};

}  // namespace intilery::rows
