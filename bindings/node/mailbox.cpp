#include "mailbox.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "rows/row_ledger.hpp"

namespace intilery::node {

void Mailbox::open(napi_threadsafe_function wake) {
  const std::lock_guard lock(mutex_);
  wake_ = wake;
  if (!mail_.empty()) wake_locked();
}

void Mailbox::shut() {
  const std::lock_guard lock(mutex_);
  wake_ = nullptr;
}

Mail Mailbox::take() {
  const std::lock_guard lock(mutex_);
  awake_ = false;
  return std::exchange(mail_, Mail{});
}

void Mailbox::finished(std::span<const Finished> group) {
  bool rows = false;
  in_runs(group, rows::RowLedger::owns, [&](std::span<const Finished> run) {
    if (rows::RowLedger::owns(run.front().tag)) {
      rows::RowLedger::settle(run);
      rows = true;
    } else {
      collect(run);
    }
  });
  const std::lock_guard lock(mutex_);
  mail_.rows |= rows;
  wake_locked();
}

void Mailbox::collect(std::span<const Finished> group) {
  const std::lock_guard lock(mutex_);
  for (const Finished& event : group) {
    // The events of a request share its outcome.
    if (mail_.outcomes.empty() || mail_.outcomes.back() != event.outcome) mail_.outcomes.push_back(event.outcome);
    const auto latency = std::clamp<std::int64_t>(event.latency.count(), 0, std::numeric_limits<std::int32_t>::max());
    mail_.fates.push_back({static_cast<double>(sequence_of(event.tag)),
                           static_cast<std::uint32_t>(mail_.outcomes.size() - 1), static_cast<std::int32_t>(latency)});
  }
}

void Mailbox::log(LogLevel level, std::string_view line) {
  const std::lock_guard lock(mutex_);
  mail_.lines.push_back({level, std::string(line)});
  wake_locked();
}

void Mailbox::answer(Answer answer) {
  const std::lock_guard lock(mutex_);
  mail_.answers.push_back(std::move(answer));
  wake_locked();
}

void Mailbox::wake_locked() {
  if (awake_ || wake_ == nullptr) return;
  awake_ = true;
  napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
}

}  // namespace intilery::node
