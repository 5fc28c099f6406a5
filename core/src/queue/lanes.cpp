#include "queue/lanes.hpp"

#include <algorithm>
#include <cassert>
#include <unordered_map>
#include <utility>
#include <vector>

namespace intilery::queue {

Lanes::Brand& Lanes::of(std::uint16_t brand) {
  if (brand >= brands_.size()) brands_.resize(brand + std::size_t{1});
  return brands_[brand];
}

void Lanes::add(EventList events, TimePoint accepted) {
  while (EventPtr event = events.pop_front()) {
    if (const Event* const next = events.front()) {
      lanes_.prefetch(next->lane);
      prefetch(next->next);
    }
    event->accepted = accepted;
    const std::uint64_t key = event->lane;
    Lane& lane = lanes_.of(key);
    if (event->adopted && event->commands) {  // the process before may have identified its user a moment ago
      ++lane.settling;
      settling_.emplace_back(accepted + settling_time, key);
    }
    const bool was_empty = lane.waiting.empty();
    const bool is_ready = !was_empty && !lane.blocked() && !lane.waiting.front()->alone;
    lane.waiting.push_back(std::move(event));
    if (is_ready) ++of(lane.waiting.front()->brand).ready_events;
    if (was_empty) make_ready(key, lane);
  }
}

void Lanes::make_ready(std::uint64_t key, const Lane& lane) {
  if (lane.waiting.empty() || lane.blocked()) return;
  Brand& brand = of(lane.waiting.front()->brand);
  if (lane.waiting.front()->alone) {
    brand.alone.push_back(key);
  } else {
    brand.ready.push_back(key);
    brand.ready_events += lane.waiting.size();
  }
}

TimePoint Lanes::first_of(const std::deque<std::uint64_t>& lanes) const {
  return lanes_.at(lanes.front()).waiting.front()->accepted;
}

std::size_t Lanes::ready() const {
  std::size_t events = 0;
  for (const Brand& brand : brands_) events += brand.held ? 0 : brand.ready_events;
  return events;
}

std::optional<Lanes::Turn> Lanes::turn(TimePoint aged, std::size_t full) const {
  std::optional<Turn> longest;
  std::optional<Turn> longest_full;
  for (std::size_t number = 0; number < brands_.size(); ++number) {
    const Brand& brand = brands_[number];
    if (brand.held || brand.ready.empty()) continue;
    const Turn turn{static_cast<std::uint16_t>(number), brand.ready_events, first_of(brand.ready)};
    if (!longest || turn.oldest < longest->oldest) longest = turn;
    if (turn.ready >= full && (!longest_full || turn.oldest < longest_full->oldest)) longest_full = turn;
  }
  return longest && longest->oldest > aged && longest_full ? longest_full : longest;
}

std::optional<TimePoint> Lanes::oldest_ready() const {
  const std::optional<Turn> longest = turn(TimePoint::max(), 0);
  if (!longest) return std::nullopt;
  return longest->oldest;
}

std::optional<TimePoint> Lanes::oldest_alone() const {
  std::optional<TimePoint> oldest;
  for (const Brand& brand : brands_) {
    if (brand.held || brand.alone.empty()) continue;
    const TimePoint first = first_of(brand.alone);
    if (!oldest || first < *oldest) oldest = first;
  }
  return oldest;
}

bool Lanes::waits(std::uint16_t brand) const {
  return brand < brands_.size() && !(brands_[brand].ready.empty() && brands_[brand].alone.empty());
}

EventPtr Lanes::take_from(std::deque<std::uint64_t>& lanes) {
  Lane& lane = lanes_.at(lanes.front());
  lanes.pop_front();
  ++lane.held;
  return lane.waiting.pop_front();
}

EventPtr Lanes::take_one(std::uint16_t number) {
  Brand& brand = of(number);
  brand.ready_events -= lanes_.at(brand.ready.front()).waiting.size();
  return take_from(brand.ready);
}

EventPtr Lanes::take_alone() {
  const std::optional<TimePoint> oldest = oldest_alone();
  const auto has_it = [&](const Brand& b) { return !b.held && !b.alone.empty() && first_of(b.alone) == *oldest; };
  return take_from(std::find_if(brands_.begin(), brands_.end(), has_it)->alone);
}

EventList Lanes::take_batch(std::uint16_t number, std::size_t bytes, std::size_t overhead) {
  // From several lanes in turn: a lane's next event is found only by the one before, and is fetched meanwhile.
  struct Source {
    std::uint64_t key = 0;
    Lane* lane = nullptr;
    std::uint32_t taken = 0;
    bool unsettled = false;
  };
  constexpr std::size_t most_sources = 8;
  std::vector<Source> sources;
  sources.reserve(most_sources);
  Brand& brand = of(number);
  EventList batch;
  std::size_t used = 0;
  const auto may_go = [&](const Source& source) {  // of another brand, if two lanes' hashes fell together
    const Event* const event = source.lane->waiting.front();
    return event != nullptr && !event->alone && !(source.unsettled && event->commands) && event->brand == number;
  };
  for (bool full = false; !full;) {
    while (sources.size() < most_sources && !brand.ready.empty()) {
      const std::uint64_t key = brand.ready.front();
      Lane& lane = lanes_.at(key);
      brand.ready.pop_front();
      brand.ready_events -= lane.waiting.size();
      prefetch(lane.waiting.front());
      sources.push_back({key, &lane, 0, lane.settling > 0});
      if (brand.ready.size() > 1) lanes_.prefetch(brand.ready[1]);
    }
    if (sources.empty()) break;
    for (Source& source : sources) {
      EventList& waiting = source.lane->waiting;
      const std::size_t size = waiting.front()->size + overhead;
      full = !batch.empty() && used + size > bytes;
      if (full) break;
      used += size;
      ++source.taken;
      source.unsettled = source.unsettled || waiting.front()->identifies;
      batch.push_back(waiting.pop_front());
      prefetch(waiting.front());
    }
    std::erase_if(sources, [&](const Source& source) {
      if (source.taken == 0 || may_go(source)) return false;
      source.lane->held += source.taken;
      return true;
    });
  }
  // What is open still found no more room.
  for (auto source = sources.rbegin(); source != sources.rend(); ++source) {
    source->lane->held += source->taken;
    if (source->taken > 0) continue;
    brand.ready.push_front(source->key);
    brand.ready_events += source->lane->waiting.size();
  }
  return batch;
}

void Lanes::go_on(std::uint64_t key) {
  const Lane& lane = lanes_.at(key);
  if (lane.idle()) {
    lanes_.erase(key);
  } else {
    make_ready(key, lane);
  }
}

void Lanes::release(const EventList& events, bool delivered, TimePoint now) {
  for (const Event* event = events.front(); event != nullptr; event = event->next) {
    if (event->next != nullptr) {
      lanes_.prefetch(event->next->lane);
      prefetch(event->next->next);
    }
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
    lane.held -= static_cast<std::uint32_t>(list.size());
    lane.waiting.prepend(std::move(list));
    if (lane.held == 0) go_on(key);
  }
}

template <class Chosen>
EventList Lanes::take_if(Chosen chosen) {
  EventList taken;
  for (Brand& brand : brands_) {
    brand.ready.clear();
    brand.alone.clear();
    brand.ready_events = 0;
  }
  std::vector<std::uint64_t> idle;
  for (auto& [lane, key, used] : lanes_.entries()) {
    if (!used) continue;
    // A lane is in order, so what is chosen comes first.
    while (!lane.waiting.empty() && chosen(*lane.waiting.front())) taken.push_back(lane.waiting.pop_front());
    if (lane.idle()) {
      idle.push_back(key);
    } else {
      make_ready(key, lane);
    }
  }
  for (const std::uint64_t key : idle) lanes_.erase(key);
  return taken;
}

EventList Lanes::take_older(TimePoint moment, std::uint16_t brand) {
  return take_if([&](const Event& event) { return event.accepted < moment && event.brand == brand; });
}

EventList Lanes::take_older_by_kind(TimePoint moment, bool rows) {
  return take_if([&](const Event& event) { return event.accepted < moment && event.row == rows; });
}

EventList Lanes::take_oldest(std::size_t bytes) {
  // By the order of acceptance. Rare, so the whole is looked through.
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  for (const auto& [lane, key, used] : lanes_.entries()) {
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
