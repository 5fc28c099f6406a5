#include "delivery_state.hpp"

#include <utility>

#include "wait_slices.hpp"

namespace intilery {

Receipt DeliveryState::receipt() const {
  Receipt receipt;
  receipt.message_id = id_known_ ? id.text() : std::string();
  receipt.event_id = outcome_->event_id;
  receipt.status = outcome_->status;
  receipt.attempts = outcome_->attempts;
  receipt.route = outcome_->route;
  receipt.latency = latency_;
  receipt.read_back = outcome_->read_back;
  if (outcome_->error) {
    auto error = std::make_shared<ErrorInfo>(*outcome_->error);
    error->message_id = receipt.message_id;
    receipt.error = std::move(error);
  }
  return receipt;
}

bool DeliveryState::wait(std::optional<std::chrono::steady_clock::time_point> deadline, Waiting& waiting) const {
  if (done()) return true;
  monitor_->check_process();
  std::unique_lock lock(monitor_->mutex);
  waited_for_ = true;
  return wait_in_slices(lock, monitor_->changed, deadline, waiting, [&] { return done(); });
}

bool DeliveryState::observe(std::shared_ptr<void> observer) {
  if (done()) return false;
  monitor_->check_process();
  const std::lock_guard lock(monitor_->mutex);
  if (done()) return false;
  observers_.push_back(std::move(observer));
  return true;
}

std::shared_ptr<DeliveryState> StateObserver::make_state() {
  auto state = std::make_shared<DeliveryState>(monitor_);
  state->self_ = state;
  return state;
}

std::uintptr_t StateObserver::tag(const std::shared_ptr<DeliveryState>& state) {
  return reinterpret_cast<std::uintptr_t>(state.get());
}

void StateObserver::forget(const std::shared_ptr<DeliveryState>& state) { state->self_.reset(); }

void StateObserver::finished(std::span<const Finished> group) {
  std::vector<DueCallback> due;
  std::vector<std::shared_ptr<DeliveryState>> released;  // destroyed without the lock held
  released.reserve(group.size());
  {
    const std::lock_guard lock(monitor_->mutex);
    for (const Finished& finished : group) {
      auto* state = reinterpret_cast<DeliveryState*>(finished.tag);
      state->outcome_ = finished.outcome;
      state->latency_ = finished.latency;
      state->id_known_ = finished.event != nullptr;
      state->done_.store(true, std::memory_order_release);
      std::shared_ptr<DeliveryState> self = std::move(state->self_);
      for (std::shared_ptr<void>& observer : state->observers_)
        due.push_back({.state = self, .observer = std::move(observer)});
      const ErrorInfo* const error = finished.outcome->error.get();
      if (state->observers_.empty() && !state->waited_for_ && error != nullptr && !is_chosen(*error))
        due.push_back({.state = self, .observer = nullptr});
      state->observers_.clear();
      released.push_back(std::move(self));
    }
    monitor_->changed.notify_all();
  }
  if (due.empty()) return;
  const std::lock_guard lock(due_mutex_);
  for (DueCallback& callback : due) due_.push_back(std::move(callback));
  due_changed_.notify_one();
}

void StateObserver::call(std::shared_ptr<void> callback) {
  const std::lock_guard lock(due_mutex_);
  due_.push_back({.state = nullptr, .observer = std::move(callback)});
  due_changed_.notify_one();
}

void StateObserver::push_line(LogLevel level, std::string_view line) {
  const std::lock_guard lock(due_mutex_);
  due_.push_back({.state = nullptr, .observer = nullptr, .level = level, .line = std::string(line)});
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
