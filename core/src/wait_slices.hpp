/// \file
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "waiting.hpp"

namespace intilery {

/// Waits for `ready`, letting go of the language's lock and asking it in slices whether to go on (see `Waiting`).
/// \param lock held on entry and on return; not held when `waiting.check()` throws.
/// \returns false if `ready` does not hold at the deadline.
template <class Ready>
bool wait_in_slices(std::unique_lock<std::mutex>& lock, std::condition_variable& changed,
                    std::optional<std::chrono::steady_clock::time_point> deadline, Waiting& waiting, Ready ready) {
  using Clock = std::chrono::steady_clock;
  constexpr auto slice = std::chrono::milliseconds(50);
  while (!ready()) {
    const Clock::time_point now = Clock::now();
    if (deadline && now >= *deadline) return false;
    const Clock::time_point until = deadline ? std::min(*deadline, now + slice) : now + slice;
    // The language's lock is taken back only when ours is free: whoever holds it may be waiting for ours.
    lock.unlock();
    waiting.release();
    lock.lock();
    changed.wait_until(lock, until, ready);
    lock.unlock();
    waiting.reacquire();
    waiting.check();
    lock.lock();
  }
  return true;
}

}  // namespace intilery
