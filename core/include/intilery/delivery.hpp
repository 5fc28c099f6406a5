/// \file
/// What became of an event.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "intilery/errors.hpp"
#include "intilery/export.hpp"

namespace intilery {

/// The way an event took.
enum class Route { event, batch };

/// The final fate of one event.
struct Receipt {
  std::string message_id;
  std::optional<std::string> event_id;  ///< The service's name for the event; none for a batch.
  int status = 0;                       ///< HTTP status of the last answer; 0: no answer.
  int attempts = 0;                     ///< Requests that carried the event.
  Route route = Route::event;
  std::chrono::microseconds latency{0};  ///< From the call to the fate.
  /// It was never acknowledged, and found by reading back (`OnUnknown::check`); then it has an `event_id` in any case.
  bool read_back = false;
  std::shared_ptr<const ErrorInfo> error;  ///< Why it failed; empty if it was delivered.

  bool delivered() const noexcept { return error == nullptr; }
};

class DeliveryState;

/// A handle on one event's delivery. Cheap to copy; dropping it changes nothing for the event.
/// Every member may be called from any thread.
class INTILERY_API Delivery {
 public:
  Delivery() = default;
  explicit Delivery(std::shared_ptr<DeliveryState> state) : state_(std::move(state)) {}

  /// The id under which the event travels, from the call on.
  std::string message_id() const;

  /// Whether the event has its final fate.
  bool done() const;

  /// Waits for the fate.
  /// \returns the receipt of a delivered event.
  /// \throws the event's own error (DeliveryError, AuthError, QueueFullError …) if it failed.
  Receipt wait() const;

  /// As `wait()`, for at most `timeout`.
  /// \throws TimeoutError if there is no fate by then; the delivery goes on.
  Receipt wait(std::chrono::milliseconds timeout) const;

  /// Calls `callback` once with the fate, delivered or not (`Receipt::error`): on the client's callback thread, or at
  /// once on this thread if the fate is known. It may take its time and may call the client. What it throws is logged.
  void on_done(std::function<void(const Receipt&)> callback) const;

  /// A standard future of the fate, failing with the event's own error.
  std::future<Receipt> future() const;

 private:
  std::shared_ptr<DeliveryState> state_;
};

/// What `flush` and `close` saw of the events that were accepted before them and had no fate yet.
struct Flush {
  std::size_t delivered = 0;
  std::size_t failed = 0;
  std::size_t remaining = 0;  ///< Still without a fate at the time-out.
};

/// What a client is doing.
enum class State { running, paused_auth, paused_rate, paused_unreachable, closed };

/// `running`, `paused: auth`, `paused: rate`, `paused: unreachable` or `closed`.
INTILERY_API std::string_view to_string(State state);

/// A client's counters, taken at one moment: `accepted == delivered + failed + queued` always holds.
struct Stats {
  std::uint64_t accepted = 0;
  std::uint64_t delivered = 0;
  std::uint64_t failed = 0;
  std::map<std::string, std::uint64_t> failed_by_reason;
  std::uint64_t queued = 0;     ///< Without a fate yet; those in flight are among them.
  std::uint64_t in_flight = 0;  ///< In a request that has not been answered.
  std::uint64_t queued_bytes = 0;
  std::uint64_t retried = 0;              ///< Times that an event was sent again.
  std::uint64_t read_back = 0;            ///< Events that were never acknowledged, and found by reading back.
  std::uint64_t bytes_sent = 0;           ///< Of request bodies, retries included.
  std::map<int, std::uint64_t> requests;  ///< By HTTP status; 0: no answer.
  /// Broken rules of the tracking plan (`PlanMode::warn`), by event and rule: `Order Completed: /events/…/minimum`.
  std::map<std::string, std::uint64_t> plan_violations;
  double rate_left = 0;  ///< Requests that the token bucket would let go now.
  State state = State::running;
};

/// What reading back showed of the messages asked for.
struct Verification {
  std::size_t expected = 0;
  std::size_t found = 0;
  std::vector<std::string> missing;    ///< Message ids that are not there.
  std::vector<std::string> duplicate;  ///< Message ids that are there more than once.
  bool complete() const noexcept { return missing.empty() && duplicate.empty(); }
};

}  // namespace intilery
