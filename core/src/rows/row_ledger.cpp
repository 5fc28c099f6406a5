#include "rows/row_ledger.hpp"

#include <utility>

namespace intilery::rows {

std::uintptr_t RowLedger::begin(std::uint64_t row) {
  auto tag = std::make_unique<Tag>(Tag{shared_from_this(), 0});
  const std::lock_guard lock(mutex_);
  tag->place = first_ + window_.size();
  window_.push_back({.number = row});
  ++progress_.total.rows;
  return reinterpret_cast<std::uintptr_t>(tag.release()) | 1;
}

void RowLedger::forget(std::uintptr_t tag, bool rejected) {
  const std::unique_ptr<Tag> held(reinterpret_cast<Tag*>(tag & ~std::uintptr_t{1}));
  const std::lock_guard lock(mutex_);
  if (rejected) {
    window_.back().fate = Fate::rejected;
    ++progress_.total.rejected;
    advance();
  } else {
    window_.pop_back();
    --progress_.total.rows;
  }
}

void RowLedger::reject(std::uint64_t row) {
  const std::lock_guard lock(mutex_);
  window_.push_back({.number = row, .fate = Fate::rejected});
  ++progress_.total.rows;
  ++progress_.total.rejected;
  advance();
}

void RowLedger::settle(std::span<const Finished> group) {
  for (const Finished& finished : group) {
    const std::unique_ptr<Tag> tag(reinterpret_cast<Tag*>(finished.tag & ~std::uintptr_t{1}));
    tag->ledger->settle(tag->place, finished);
  }
}

void RowLedger::settle(std::uint64_t place, const Finished& finished) {
  const Outcome& outcome = *finished.outcome;
  if (outcome.closing) return;  // it can be sent again
  const std::lock_guard lock(mutex_);
  Row& row = window_[place - first_];
  row.fate = outcome.error ? Fate::failed : Fate::delivered;
  row.resent = outcome.attempts > 1;
  ++(outcome.error ? progress_.total.failed : progress_.total.delivered);
  if (row.resent) ++progress_.total.resent;
  if (outcome.error) {
    FailedRow failed{.row = row.number, .error = *outcome.error, .event = {}};
    if (finished.event != nullptr) {
      failed.event = std::string(finished.event->bytes()) + "}";
      failed.error.message_id = finished.event->message_id();
    }
    progress_.failed.push_back(std::move(failed));
  }
  if (place == first_) advance();
}

void RowLedger::advance() {
  Tally& settled = progress_.settled;
  for (; !window_.empty() && window_.front().fate != Fate::none; window_.pop_front(), ++first_) {
    const Row& row = window_.front();
    ++settled.rows;
    if (row.fate == Fate::delivered) ++settled.delivered;
    if (row.fate == Fate::rejected) ++settled.rejected;
    if (row.fate == Fate::failed) ++settled.failed;
    if (row.resent) ++settled.resent;
    progress_.through = row.number;
  }
}

Progress RowLedger::take() {
  const std::lock_guard lock(mutex_);
  Progress now = progress_;
  now.failed.swap(progress_.failed);
  progress_.failed.clear();
  return now;
}

}  // namespace intilery::rows
