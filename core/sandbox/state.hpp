/// \file
/// What the sandbox knows: of its account, and of what arrived.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <span>

#include "event_store.hpp"
#include "fault_script.hpp"
#include "intilery/testing.hpp"
#include "plan/guard.hpp"
#include "rate_bucket.hpp"
#include "stored_calls.hpp"

namespace intilery::testing {

struct State {
  explicit State(SandboxOptions given)
      : options(std::move(given)),
        bucket(options.rate_limit, options.burst, std::chrono::steady_clock::now()),
        faults(options.faults),
        store(options.max_stored_bytes, options.visible_after.count()) {
    if (!options.plan.empty()) plan = std::make_unique<const plan::Guard>(options.plan, PlanMode::reject, nullptr);
    if (options.store.empty()) return;
    kept = std::make_unique<StoredCalls>(options.store);
    kept->read([&](const EventStore::Call& call) { store.add(call); });
  }

  /// Takes the calls of one request, or none of them. With the mutex held.
  /// \throws std::runtime_error if the file cannot be written.
  void accept(std::span<const EventStore::Call> calls) {
    if (kept) {
      kept->begin();
      for (const EventStore::Call& call : calls) kept->add(call);
      kept->commit();
    }
    for (const EventStore::Call& call : calls) store.add(call);
    arrived.notify_all();
  }

  /// Forgets all that arrived. With the mutex held.
  void forget() {
    if (kept) kept->clear();
    store.clear();
    ++clears;
    first_request += log.size();
    log.clear();
    stored_bytes = 0;
    bytes_received = 0;
    requests_by_status.clear();
    bucket.fill();
  }

  SandboxOptions options;                   ///< `token` is guarded by the mutex.
  std::unique_ptr<const plan::Guard> plan;  ///< If there is one.
  mutable std::mutex mutex;                 ///< Guards all below.
  mutable std::condition_variable arrived;  ///< Told of every event.
  RateBucket bucket;
  FaultScript faults;
  EventStore store;
  std::uint64_t clears = 0;           ///< How often the store was emptied: places in it before mean nothing after.
  std::unique_ptr<StoredCalls> kept;  ///< If there is a file for it.
  std::deque<std::shared_ptr<const ReceivedRequest>> log;
  std::uint64_t first_request = 0;  ///< The number of the log's first one.
  std::size_t stored_bytes = 0;
  std::uint64_t bytes_received = 0;
  std::map<int, std::uint64_t> requests_by_status;
};

}  // namespace intilery::testing
