#include "queue/bounded_queue.hpp"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include <algorithm>
#include <utility>

#include "wait_slices.hpp"

namespace intilery::queue {

namespace {

/// Takes the lock. What others do with it is done sooner than this thread could be put to sleep and woken again.
std::unique_lock<std::mutex> lock_soon(std::mutex& mutex) {
  std::unique_lock lock(mutex, std::try_to_lock);
  for (int tries = 0; !lock && tries < 100; ++tries) {
#if defined(__SSE2__)
    _mm_pause();
#endif
    static_cast<void>(lock.try_lock());
  }
  if (!lock) lock.lock();
  return lock;
}

std::size_t bytes_of(const EventList& events) {
  std::size_t bytes = 0;
  for (const Event* event = events.front(); event != nullptr; event = event->next) bytes += event->footprint();
  return bytes;
}

}  // namespace

BoundedQueue::Push BoundedQueue::push(EventPtr& event) {
  const std::size_t footprint = event->footprint();
  const std::unique_lock lock = lock_soon(mutex_);
  if (closed_) return Push::closed;
  if (bytes_ > 0 && bytes_ + footprint > max_bytes_) return Push::full;
  append(std::move(event));
  if (incoming_.size() < wake_at_) return Push::accepted;
  wake_at_ = std::numeric_limits<std::size_t>::max();
  return Push::accepted_wake;
}

void BoundedQueue::restore(EventList events) {
  const std::lock_guard lock(mutex_);
  while (EventPtr event = events.pop_front()) append(std::move(event));
}

void BoundedQueue::append(EventPtr event) {
  event->sequence = ++accepted_;
  bytes_ += event->footprint();
  incoming_.push_back(std::move(event));
}

bool BoundedQueue::wait_for_space(std::size_t footprint, TimePoint deadline, Waiting& waiting) {
  std::unique_lock lock(mutex_);
  ++space_waiters_;
  const auto fits = [&] { return closed_ || bytes_ == 0 || bytes_ + footprint <= max_bytes_; };
  try {
    const bool fitting = wait_in_slices(lock, changed_, deadline, waiting, fits);
    --space_waiters_;
    return fitting;
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    --space_waiters_;
    throw;
  }
}

void BoundedQueue::count_refused(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  ++accepted_;
  ++refused_;
  ++failed_;
  ++failed_by_reason_[reason];
}

std::size_t BoundedQueue::excess(std::size_t footprint) const {
  const std::lock_guard lock(mutex_);
  const std::size_t wanted = bytes_ + footprint;
  return bytes_ == 0 || wanted <= max_bytes_ ? 0 : wanted - max_bytes_;
}

void BoundedQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

bool BoundedQueue::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

EventList BoundedQueue::take() {
  const std::unique_lock lock = lock_soon(mutex_);
  wake_at_ = std::numeric_limits<std::size_t>::max();
  return std::move(incoming_);
}

bool BoundedQueue::sleep_until(std::size_t count) {
  const std::lock_guard lock(mutex_);
  if (incoming_.size() >= count) return false;
  wake_at_ = count;
  return true;
}

void BoundedQueue::count(const EventList& events, const std::string& failure) {
  const std::size_t bytes = bytes_of(events);
  const std::unique_lock lock = lock_soon(mutex_);
  if (failure.empty()) {
    delivered_ += events.size();
  } else {
    failed_ += events.size();
    failed_by_reason_[failure] += events.size();
  }
  bytes_ -= bytes;
  // Not for every event's room: being woken costs more than an event. Who waits looks by itself, too, now and then.
  if (space_waiters_ > 0 && bytes_ <= max_bytes_ - max_bytes_ / 16) changed_.notify_all();
}

void BoundedQueue::conclude(const EventList& events, bool delivered) {
  std::vector<std::function<void()>> due;
  std::unique_lock lock = lock_soon(mutex_);
  for (const Event* event = events.front(); event != nullptr && !markers_.empty(); event = event->next) {
    for (Marker* marker : markers_) {
      if (event->sequence > marker->through) continue;
      ++(delivered ? marker->seen.delivered : marker->seen.failed);
      --marker->seen.remaining;
    }
  }
  concluded_ += events.size();
  const auto complete = [](const Marker* marker) { return marker->seen.remaining == 0; };
  if (std::any_of(markers_.begin(), markers_.end(), complete)) changed_.notify_all();
  if (remaining() == 0) due.swap(when_idle_);
  lock.unlock();
  for (const std::function<void()>& told : due) told();
}

bool BoundedQueue::is_idle() const {
  const std::lock_guard lock(mutex_);
  return remaining() == 0;
}

bool BoundedQueue::when_idle(std::function<void()> told) {
  const std::lock_guard lock(mutex_);
  if (remaining() == 0) return false;
  when_idle_.push_back(std::move(told));
  return true;
}

Flush BoundedQueue::flush(std::optional<TimePoint> deadline, Waiting& waiting, const std::function<void()>& started) {
  std::unique_lock lock(mutex_);
  Marker marker;
  marker.through = accepted_;
  marker.seen.remaining = static_cast<std::size_t>(remaining());
  if (marker.seen.remaining == 0) return marker.seen;
  const auto place = markers_.insert(markers_.end(), &marker);
  lock.unlock();
  started();
  lock.lock();
  try {
    wait_in_slices(lock, changed_, deadline, waiting, [&] { return marker.seen.remaining == 0; });
  } catch (...) {
    if (!lock.owns_lock()) lock.lock();
    markers_.erase(place);
    throw;
  }
  markers_.erase(place);
  return marker.seen;
}

bool BoundedQueue::flushing() const {
  const std::lock_guard lock(mutex_);
  return !markers_.empty();
}

void BoundedQueue::fill(Stats& stats) const {
  const std::lock_guard lock(mutex_);
  stats.accepted = accepted_;
  stats.delivered = delivered_;
  stats.failed = failed_;
  stats.failed_by_reason = failed_by_reason_;
  stats.queued = accepted_ - delivered_ - failed_;
  stats.queued_bytes = bytes_;
}

}  // namespace intilery::queue
