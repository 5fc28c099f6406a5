#include "rows/row_ledger.hpp"

#include <utility>

namespace intilery::rows {

std::uintptr_t RowLedger::begin(std::uint64_t row) {
  auto tag = std::make_unique<Tag>(Tag{shared_from_this(), row});
  const std::lock_guard lock(mutex_);
  ++progress_.total.rows;
  return reinterpret_cast<std::uintptr_t>(tag.release()) | 1;
}

void RowLedger::forget(std::uintptr_t tag, bool rejected) {
  const std::unique_ptr<Tag> held(reinterpret_cast<Tag*>(tag & ~std::uintptr_t{1}));
  const std::lock_guard lock(mutex_);
  if (rejected) {
    ++progress_.total.rejected;
    progress_.settled.add(held->row);
  } else {
    --progress_.total.rows;
  }
}

void RowLedger::reject(std::uint64_t row) {
  const std::lock_guard lock(mutex_);
  ++progress_.total.rows;
  ++progress_.total.rejected;
  progress_.settled.add(row);
}

void RowLedger::settle(std::span<const Finished> group) {
  for (const Finished& finished : group) {
    const std::unique_ptr<Tag> tag(reinterpret_cast<Tag*>(finished.tag & ~std::uintptr_t{1}));
    tag->ledger->settle(tag->row, finished);
  }
}

void RowLedger::settle(std::uint64_t row, const Finished& finished) {
  const Outcome& outcome = *finished.outcome;
  if (outcome.closing) return;
  const std::lock_guard lock(mutex_);
  if (outcome.away) {
    if (!progress_.ended) {
      progress_.ended = *outcome.error;
      progress_.ended->message += "; no row is lost: the same run, started again, goes on";
    }
    return;
  }
  progress_.settled.add(row);
  ++(outcome.error ? progress_.total.failed : progress_.total.delivered);
  if (outcome.attempts > 1) ++progress_.total.resent;
  if (outcome.error) {
    FailedRow failed{.row = row, .error = *outcome.error, .event = {}};
    if (finished.event != nullptr) {
      failed.event = std::string(finished.event->bytes()) + "}";
      failed.error.message_id = finished.event->message_id();
    }
    progress_.failed.push_back(std::move(failed));
  }
}

Progress RowLedger::take() {
  const std::lock_guard lock(mutex_);
  Progress now = progress_;
  progress_.failed.clear();
  return now;
}

}  // namespace intilery::rows
