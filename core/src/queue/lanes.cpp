#include "queue/lanes.hpp"

#include <algorithm>
#include <cassert>
#include <utility>
#include <vector>

namespace intilery::queue {

void Lanes::add(EventPtr event) {
  auto& entry = *lanes_.try_emplace(event->lane).first;
  Lane& lane = entry.second;
  const bool was_empty = lane.waiting.empty();
  const bool is_ready = !was_empty && !lane.blocked() && !lane.waiting.front()->alone;
  lane.waiting.push_back(std::move(event));
  if (is_ready) ++ready_events_;
  if (was_empty) make_ready(entry);
}

void Lanes::make_ready(Map::value_type& entry) {
  const Lane& lane = entry.second;
  if (lane.waiting.empty() || lane.blocked()) return;
  if (lane.waiting.front()->alone) {
    alone_.push_back(entry.first);
  } else {
    ready_.push_back(entry.first);
    ready_events_ += lane.waiting.size();
  }
}

std::optional<TimePoint> Lanes::oldest_ready() const {
  if (ready_.empty()) return std::nullopt;
  return lanes_.at(ready_.front()).waiting.front()->accepted;
}

std::optional<TimePoint> Lanes::oldest_alone() const {
  if (alone_.empty()) return std::nullopt;
  return lanes_.at(alone_.front()).waiting.front()->accepted;
}

EventPtr Lanes::take_from(std::deque<std::uint64_t>& lanes) {
  Lane& lane = lanes_.at(lanes.front());
  lanes.pop_front();
  ++lane.held;
  return lane.waiting.pop_front();
}

EventPtr Lanes::take_one() {
  ready_events_ -= lanes_.at(ready_.front()).waiting.size();
  return take_from(ready_);
}

EventPtr Lanes::take_alone() { return take_from(alone_); }

EventList Lanes::take_batch(std::size_t bytes, std::size_t overhead) {
  EventList batch;
  std::size_t used = 0;
  while (!ready_.empty()) {
    Lane& lane = lanes_.at(ready_.front());
    const std::size_t waiting = lane.waiting.size();
    std::size_t taken = 0;
    bool unsettled = lane.settling > 0;
    while (!lane.waiting.empty() && !lane.waiting.front()->alone && !(unsettled && lane.waiting.front()->commands)) {
      const std::size_t size = lane.waiting.front()->size + overhead;
      if (!batch.empty() && used + size > bytes) break;
      used += size;
      ++taken;
      unsettled = unsettled || lane.waiting.front()->identifies;
      batch.push_back(lane.waiting.pop_front());
    }
    if (taken == 0) break;  // no room left
    lane.held += taken;
    ready_.pop_front();
    ready_events_ -= waiting;
  }
  return batch;
}

void Lanes::go_on(std::uint64_t key) {
  const auto found = lanes_.find(key);
  if (found->second.idle()) {
    lanes_.erase(found);
  } else {
    make_ready(*found);
  }
}

void Lanes::release(const EventList& events, bool delivered, TimePoint now) {
  for (const Event* event = events.front(); event != nullptr; event = event->next) {
    Lane& lane = lanes_.at(event->lane);
    assert(lane.held > 0);
    if (event->identifies && delivered) {
      ++lane.settling;
      settling_.emplace_back(now + settling_time, event->lane);
    }
    if (--lane.held == 0) go_on(event->lane);
  }
}

void Lanes::settle(TimePoint now) {
  while (!settling_.empty() && settling_.front().first <= now) {
    const std::uint64_t key = settling_.front().second;
    settling_.pop_front();
    Lane& lane = lanes_.at(key);
    if (--lane.settling > 0 || lane.held > 0) continue;
    if (lane.waiting.empty() || lane.waiting.front()->commands) go_on(key);  // others did not wait
  }
}

std::optional<TimePoint> Lanes::next_settled() const {
  if (settling_.empty()) return std::nullopt;
  return settling_.front().first;
}

void Lanes::put_back(EventList events) {
  // By lane first, so that each lane gets its events back in one piece and in order.
  std::unordered_map<std::uint64_t, EventList> by_lane;
  std::deque<std::uint64_t> order;
  while (EventPtr event = events.pop_front()) {
    const std::uint64_t key = event->lane;
    const auto [place, is_new] = by_lane.try_emplace(key);
    if (is_new) order.push_back(key);
    place->second.push_back(std::move(event));
  }
  for (const std::uint64_t key : order) {
    EventList& list = by_lane.at(key);
    Lane& lane = lanes_.at(key);
    assert(lane.held >= list.size());
    lane.held -= list.size();
    lane.waiting.prepend(std::move(list));
    if (lane.held == 0) go_on(key);
  }
}

template <class Chosen>
EventList Lanes::take_if(Chosen chosen) {
  EventList taken;
  ready_.clear();
  alone_.clear();
  ready_events_ = 0;
  for (auto entry = lanes_.begin(); entry != lanes_.end();) {
    Lane& lane = entry->second;
    // A lane is in order, so what is chosen comes first.
    while (!lane.waiting.empty() && chosen(*lane.waiting.front())) taken.push_back(lane.waiting.pop_front());
    if (lane.idle()) {
      entry = lanes_.erase(entry);
      continue;
    }
    make_ready(*entry);
    ++entry;
  }
  return taken;
}

EventList Lanes::take_older(TimePoint moment) {
  return take_if([&](const Event& event) { return event.accepted < moment; });
}

EventList Lanes::take_oldest(std::size_t bytes) {
  // By the order of acceptance. Rare, so the whole is looked through.
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  for (const auto& [key, lane] : lanes_) {
    for (const Event* event = lane.waiting.front(); event != nullptr; event = event->next) {
      order.emplace_back(event->sequence, event->footprint());
    }
  }
  std::sort(order.begin(), order.end());
  std::size_t sum = 0;
  std::uint64_t through = 0;
  for (const auto& [sequence, footprint] : order) {
    if (sum >= bytes) break;
    sum += footprint;
    through = sequence;
  }
  return take_if([&](const Event& event) { return event.sequence <= through; });
}

EventList Lanes::take_all() {
  return take_if([](const Event&) { return true; });
}

}  // namespace intilery::queue
