#include "rows/row_ledger.hpp"

#include <utility>

namespace intilery::rows {

std::uintptr_t RowLedger::begin(std::uint64_t row) {
  const std::lock_guard lock(mutex_);
  if (free_ == nullptr) {
    constexpr std::size_t count = 512;
    tags_.push_back(std::make_unique<Tag[]>(count));
    for (Tag *tag = tags_.back().get(), *const end = tag + count; tag != end; ++tag) {
      tag->ledger = this;
      tag->next = std::exchange(free_, tag);
    }
  }
  Tag* const tag = std::exchange(free_, free_->next);
  tag->row = row;
  if (++under_way_ == 1) self_ = shared_from_this();
  ++progress_.total.rows;
  return reinterpret_cast<std::uintptr_t>(tag) | 1;
}

std::uint64_t RowLedger::release(std::uintptr_t tag) {
  Tag* const held = tag_of(tag);
  const std::uint64_t row = held->row;
  held->next = std::exchange(free_, held);
  --under_way_;
  return row;
}

void RowLedger::forget(std::uintptr_t tag, bool rejected) {
  std::shared_ptr<RowLedger> last;  // let go of without the lock
  const std::lock_guard lock(mutex_);
  const std::uint64_t row = release(tag);
  if (rejected) {
    ++progress_.total.rejected;
    progress_.settled.add(row);
  } else {
    --progress_.total.rows;
  }
  if (under_way_ == 0) last = std::move(self_);
}

void RowLedger::reject(std::uint64_t row) {
  const std::lock_guard lock(mutex_);
  ++progress_.total.rows;
  ++progress_.total.rejected;
  progress_.settled.add(row);
}

void RowLedger::settle(std::span<const Finished> group) {
  while (!group.empty()) {
    RowLedger* const ledger = tag_of(group.front().tag)->ledger;
    std::size_t count = 1;
    while (count < group.size() && tag_of(group[count].tag)->ledger == ledger) ++count;
    ledger->settle_own(group.first(count));
    group = group.subspan(count);
  }
}

void RowLedger::settle_own(std::span<const Finished> group) {
  std::shared_ptr<RowLedger> last;
  const std::lock_guard lock(mutex_);
  RowRanges::Run settled(progress_.settled);
  for (const Finished& finished : group) {
    const std::uint64_t row = release(finished.tag);
    const Outcome& outcome = *finished.outcome;
    if (outcome.closing) continue;
    if (outcome.away) {
      if (!progress_.ended) {
        progress_.ended = *outcome.error;
        progress_.ended->message += "; no row is lost: the same run, started again, goes on";
      }
      continue;
    }
    settled.add(row);
    if (outcome.attempts > 1) ++progress_.total.resent;
    if (outcome.error) {
      ++progress_.total.failed;
      fail(row, finished);
    } else {
      ++progress_.total.delivered;
    }
  }
  if (under_way_ == 0) last = std::move(self_);
}

void RowLedger::fail(std::uint64_t row, const Finished& finished) {
  FailedRow failed{.row = row, .error = *finished.outcome->error, .event = {}};
  if (finished.event != nullptr) {
    failed.event = std::string(finished.event->bytes()) + "}";
    failed.error.message_id = finished.event->message_id();
  }
  progress_.failed.push_back(std::move(failed));
}

Progress RowLedger::take() {
  const std::lock_guard lock(mutex_);
  Progress now = progress_;
  progress_.failed.clear();
  return now;
}

}  // namespace intilery::rows
