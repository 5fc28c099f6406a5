/// \file
/// What a `Delivery` handle points to, and the observer that fills it. C++ and Python use both.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "client_core.hpp"
#include "fork.hpp"

namespace intilery {

/// Guards the fates of one client's deliveries: one lock and one condition for all, since waiters are few.
struct FateMonitor {
  std::mutex mutex;
  std::condition_variable changed;
  const unsigned generation = fork_generation();

  /// \throws ClosedError in a forked child, where the mutex may be locked for ever.
  void check_process() const {
    if (generation != fork_generation()) throw_foreign();
  }
};

/// The fate of one event, or the wait for it.
class DeliveryState {
 public:
  explicit DeliveryState(std::shared_ptr<FateMonitor> monitor) : monitor_(std::move(monitor)) {}

  bool done() const { return done_.load(std::memory_order_acquire); }
  /// The fate. Only once `done()`.
  Receipt receipt() const;
  /// False if there is none by the deadline. No deadline: waits for ever.
  /// \throws ClosedError in a forked child, where it will never be known.
  bool wait(std::optional<std::chrono::steady_clock::time_point> deadline, Waiting& waiting) const;
  /// Remembers `observer` (any language's callback) until the fate is known. False: it is known already, nothing was
  /// remembered. May be called more than once; all are told, in order. Throws as `wait`.
  bool observe(std::shared_ptr<void> observer);

  /// Set by the caller of `submit`, before which nobody else sees the state.
  event::MessageId id;

 private:
  friend class StateObserver;
  std::shared_ptr<FateMonitor> monitor_;
  std::shared_ptr<DeliveryState> self_;  ///< Keeps a dropped delivery's state alive until its fate is reported.
  std::atomic<bool> done_{false};
  std::shared_ptr<const Outcome> outcome_;
  std::chrono::microseconds latency_{0};
  bool id_known_ = true;  ///< Not for a mistake in the call (`OnInvalid::report`).
  std::vector<std::shared_ptr<void>> observers_;
  mutable bool waited_for_ = false;  ///< Somebody waits or waited, and so hears of a failure.
};

/// An observer's due call: `state` has its fate. Or, without a state, a log line.
struct DueCallback {
  std::shared_ptr<DeliveryState> state;
  std::shared_ptr<void> observer;  ///< Null: nobody observes this delivery, and it failed. Without a state: see `call`.
  LogLevel level = LogLevel::info;
  std::string line = {};
};

/// Fills states, wakes those who wait, and hands what must be called to a thread of the language's own, through `pop`.
class StateObserver : public Observer {
 public:
  StateObserver() : monitor_(std::make_shared<FateMonitor>()) {}

  /// A state to be submitted: `submit(draft, tag(state), &state->id, …)`. If `submit` throws, call `forget`.
  std::shared_ptr<DeliveryState> make_state();
  static std::uintptr_t tag(const std::shared_ptr<DeliveryState>& state);
  static void forget(const std::shared_ptr<DeliveryState>& state);

  /// Waits for due callbacks and moves them to `due`. False once `stop` was called and nothing is left.
  bool pop(std::vector<DueCallback>& due);
  /// No more callbacks will come (the core is closed).
  void stop();

  void finished(std::span<const Finished> group) override;

  /// Has a callback called that belongs to no delivery.
  void call(std::shared_ptr<void> callback);

 protected:
  /// For a language whose log must be written on its own thread.
  void push_line(LogLevel level, std::string_view line);

 private:
  std::shared_ptr<FateMonitor> monitor_;
  std::mutex due_mutex_;
  std::condition_variable due_changed_;
  std::vector<DueCallback> due_;
  bool stopped_ = false;
};

}  // namespace intilery
