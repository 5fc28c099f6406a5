/// \file
/// What a `Delivery` handle points to, and the observer that fills it. C++ and Python use both.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
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

struct DueCallback;

/// Where the fates of 256 events are written, if anybody still has a handle by then: an event whose handle is dropped
/// costs its few bytes here and no work. Gone when all its events have their fates and all their handles are dropped.
///
/// The page's address and an event's place in it make the event's tag; tags are even (`rows::RowLedger::owns`).
class alignas(512) FatePage {
 public:
  static constexpr std::uint32_t places = 256;
  using Observers = std::vector<std::shared_ptr<void>>;

  explicit FatePage(std::shared_ptr<FateMonitor> monitor) : monitor_(std::move(monitor)) {}

  std::uintptr_t tag(std::uint32_t place) const { return reinterpret_cast<std::uintptr_t>(this) | place << 1; }
  static FatePage* of(std::uintptr_t tag) { return reinterpret_cast<FatePage*>(tag & ~std::uintptr_t{511}); }
  static std::uint32_t place_of(std::uintptr_t tag) { return static_cast<std::uint32_t>(tag & 511) >> 1; }

  /// One more handle, for who has one.
  void share() { shares_.fetch_add(one_handle, std::memory_order_relaxed); }
  /// Gives shares back; the last one ends the page.
  void release(std::uint64_t handles, std::uint64_t events) {
    const std::uint64_t given = handles * one_handle + events;
    if (shares_.fetch_sub(given, std::memory_order_acq_rel) == given) delete this;
  }

 private:
  friend class DeliveryState;
  friend class StateObserver;
  static constexpr std::uint64_t one_handle = std::uint64_t{1} << 32;

  bool has_handles() const { return shares_.load(std::memory_order_acquire) >= one_handle; }
  /// With the monitor's lock. Adds what must be called to `due`.
  void conclude(const Finished& finished, std::vector<DueCallback>& due);

  /// Handles, and events without a fate. Both are there from the start for all places.
  std::atomic<std::uint64_t> shares_{places * one_handle + places};
  const std::shared_ptr<FateMonitor> monitor_;
  std::array<std::atomic<bool>, places> done_{};
  // Read once `done_` says so.
  std::array<const Outcome*, places> outcome_{};
  std::array<std::chrono::microseconds, places> latency_{};
  // With the monitor's lock.
  std::vector<std::shared_ptr<const Outcome>> outcomes_;  ///< Of those above; the events of a request share one.
  std::array<std::unique_ptr<Observers>, places> observers_{};
  std::array<bool, places> waited_for_{};  ///< Somebody waits or waited, and so hears of a failure.
};

/// A handle on the fate of one event, or on the wait for it. Not to be used when it is empty.
class DeliveryState {
 public:
  DeliveryState() = default;
  /// Takes over one of the page's handles.
  DeliveryState(FatePage* page, std::uint32_t place) : page_(page), place_(place) {}
  DeliveryState(DeliveryState&& other) noexcept
      : id(std::move(other.id)), page_(std::exchange(other.page_, nullptr)), place_(other.place_) {}
  DeliveryState& operator=(DeliveryState&&) = delete;
  ~DeliveryState() {
    if (page_ != nullptr) page_->release(1, 0);
  }

  explicit operator bool() const { return page_ != nullptr; }
  bool done() const { return page_->done_[place_].load(std::memory_order_acquire); }
  /// The fate. Only once `done()`.
  Receipt receipt() const;
  /// False if there is none by the deadline. No deadline: waits for ever.
  /// \throws ClosedError in a forked child, where it will never be known.
  bool wait(std::optional<std::chrono::steady_clock::time_point> deadline, Waiting& waiting) const;
  /// Remembers `observer` (any language's callback) until the fate is known. False: it is known already, nothing was
  /// remembered. May be called more than once; all are told, in order. Throws as `wait`.
  bool observe(std::shared_ptr<void> observer) const;

  /// Set by the caller of `submit`, before which nobody else sees the state. Of a callback that is due: empty if the
  /// event never got so far as to have one.
  event::MessageId id;

 private:
  friend class StateObserver;
  FatePage* page_ = nullptr;
  std::uint32_t place_ = 0;
};

/// An observer's due call: `state` has its fate. Or, with an empty state, a log line.
struct DueCallback {
  DeliveryState state;
  std::shared_ptr<void> observer;  ///< Null: nobody observes this delivery, and it failed. Without a state: see `call`.
  LogLevel level = LogLevel::info;
  std::string line = {};
};

/// Fills states, wakes those who wait, and hands what must be called to a thread of the language's own, through `pop`.
class StateObserver : public Observer {
 public:
  StateObserver() : monitor_(std::make_shared<FateMonitor>()) {}
  ~StateObserver() override;

  /// A state to be submitted: `submit(draft, tag(state), &state.id, …)`. If `submit` throws, call `forget`.
  /// \throws ClosedError in a forked child.
  DeliveryState make_state();
  static std::uintptr_t tag(const DeliveryState& state) { return state.page_->tag(state.place_); }
  static void forget(const DeliveryState& state);

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
  const std::shared_ptr<FateMonitor> monitor_;
  std::atomic_flag taking_ = ATOMIC_FLAG_INIT;  ///< A lock for the two below, held for an instant.
  FatePage* page_ = nullptr;
  std::uint32_t next_place_ = FatePage::places;
  std::mutex due_mutex_;
  std::condition_variable due_changed_;
  std::vector<DueCallback> due_;
  bool stopped_ = false;
};

}  // namespace intilery
