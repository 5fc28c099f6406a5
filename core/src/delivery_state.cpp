#include "delivery_state.hpp"

#include <thread>
#include <utility>

#include "wait_slices.hpp"

namespace intilery {

void FatePage::conclude(const Finished& finished, std::vector<DueCallback>& due) {
  const std::uint32_t place = place_of(finished.tag);
  const std::unique_ptr<Observers> observers = std::move(observers_[place]);
  const ErrorInfo* const error = finished.outcome->error.get();
  const bool unheard = error != nullptr && !is_chosen(*error) && !observers && !waited_for_[place];
  if (!observers && !unheard && !has_handles()) return;

  if (outcomes_.empty() || outcomes_.back() != finished.outcome) outcomes_.push_back(finished.outcome);
  outcome_[place] = finished.outcome.get();
  latency_[place] = finished.latency;
  done_[place].store(true, std::memory_order_release);

  const auto call = [&](std::shared_ptr<void> observer) {
    share();
    DueCallback& callback = due.emplace_back(DueCallback{{this, place}, std::move(observer)});
    if (finished.event != nullptr) callback.state.id = event::MessageId::from_caller(finished.event->message_id());
  };
  if (unheard) call(nullptr);
  if (!observers) return;
  for (std::shared_ptr<void>& observer : *observers) call(std::move(observer));
}

Receipt DeliveryState::receipt() const {
  const Outcome& outcome = *page_->outcome_[place_];
  Receipt receipt;
  receipt.message_id = id.text();
  receipt.event_id = outcome.event_id;
  receipt.status = outcome.status;
  receipt.attempts = outcome.attempts;
  receipt.route = outcome.route;
  receipt.latency = page_->latency_[place_];
  receipt.read_back = outcome.read_back;
  if (outcome.error) {
    auto error = std::make_shared<ErrorInfo>(*outcome.error);
    error->message_id = receipt.message_id;
    receipt.error = std::move(error);
  }
  return receipt;
}

bool DeliveryState::wait(std::optional<std::chrono::steady_clock::time_point> deadline, Waiting& waiting) const {
  if (done()) return true;
  FateMonitor& monitor = *page_->monitor_;
  monitor.check_process();
  std::unique_lock lock(monitor.mutex);
  page_->waited_for_[place_] = true;
  return wait_in_slices(lock, monitor.changed, deadline, waiting, [&] { return done(); });
}

bool DeliveryState::observe(std::shared_ptr<void> observer) const {
  if (done()) return false;
  FateMonitor& monitor = *page_->monitor_;
  monitor.check_process();
  const std::lock_guard lock(monitor.mutex);
  if (done()) return false;
  std::unique_ptr<FatePage::Observers>& observers = page_->observers_[place_];
  if (!observers) observers = std::make_unique<FatePage::Observers>();
  observers->push_back(std::move(observer));
  return true;
}

StateObserver::~StateObserver() {
  const std::uint32_t unused = FatePage::places - next_place_;
  if (unused > 0) page_->release(unused, unused);
}

DeliveryState StateObserver::make_state() {
  monitor_->check_process();  // another thread of the parent's may have had the lock below
  while (taking_.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
  if (next_place_ == FatePage::places) {
    try {
      page_ = new FatePage(monitor_);
    } catch (...) {
      taking_.clear(std::memory_order_release);
      throw;
    }
    next_place_ = 0;
  }
  FatePage* const page = page_;
  const std::uint32_t place = next_place_++;
  taking_.clear(std::memory_order_release);
  return {page, place};
}

void StateObserver::forget(const DeliveryState& state) { state.page_->release(0, 1); }

void StateObserver::finished(std::span<const Finished> group) {
  std::vector<DueCallback> due;
  {
    const std::lock_guard lock(monitor_->mutex);
    for (const Finished& finished : group) FatePage::of(finished.tag)->conclude(finished, due);
    monitor_->changed.notify_all();
  }
  // Events that were called one after another share a page.
  in_runs(group, FatePage::of,
          [](std::span<const Finished> run) { FatePage::of(run.front().tag)->release(0, run.size()); });
  if (due.empty()) return;
  const std::lock_guard lock(due_mutex_);
  for (DueCallback& callback : due) due_.push_back(std::move(callback));
  due_changed_.notify_one();
}

void StateObserver::call(std::shared_ptr<void> callback) {
  const std::lock_guard lock(due_mutex_);
  due_.push_back({.state = {}, .observer = std::move(callback)});
  due_changed_.notify_one();
}

void StateObserver::push_line(LogLevel level, std::string_view line) {
  const std::lock_guard lock(due_mutex_);
  due_.push_back({.state = {}, .observer = nullptr, .level = level, .line = std::string(line)});
  due_changed_.notify_one();
}

bool StateObserver::pop(std::vector<DueCallback>& due) {
  std::unique_lock lock(due_mutex_);
  due_changed_.wait(lock, [&] { return stopped_ || !due_.empty(); });
  due.clear();
  due.swap(due_);
  return !due.empty() || !stopped_;
}

void StateObserver::stop() {
  const std::lock_guard lock(due_mutex_);
  stopped_ = true;
  due_changed_.notify_all();
}

}  // namespace intilery
