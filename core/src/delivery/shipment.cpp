#include "delivery/shipment.hpp"

#include <unordered_map>

#include "event/encoder.hpp"

namespace intilery::delivery {

namespace {

constexpr std::string_view batch_opening = "{\"batch\":[";
constexpr std::string_view batch_closing = "]}";

}  // namespace

std::size_t Shipment::body_size() const {
  std::size_t size = 0;
  for (const queue::Event* event = events.front(); event != nullptr; event = event->next) {
    size += event->size + (event->has_sent_at ? 1 : event::closing_size) + (event->next != nullptr ? 1 : 0);
  }
  return route == Route::batch ? size + batch_opening.size() + batch_closing.size() : size;
}

std::vector<std::string_view> Shipment::body(std::int64_t unix_ms) {
  separator = event::closing(unix_ms) + ',';
  const std::string_view closing = std::string_view(separator).substr(0, event::closing_size);
  std::vector<std::string_view> parts;
  parts.reserve(2 * events.size() + 2);
  sent.clear();
  sent.reserve(events.size());
  if (route == Route::batch) parts.push_back(batch_opening);
  for (const queue::Event* event = events.front(); event != nullptr; event = event->next) {
    const std::string_view end = event->next != nullptr ? std::string_view(separator) : closing;
    sent.push_back(event);
    parts.push_back(event->bytes());
    parts.push_back(event->has_sent_at ? end.substr(event::closing_size - 1) : end);
  }
  if (route == Route::batch) parts.push_back(batch_closing);
  return parts;
}

void Shipment::prefetch() const {
  for (const queue::Event* event : sent) queue::prefetch(event);
}

std::unique_ptr<Shipment> Shipment::split() {
  // Users in the order of their first event; the first of them, up to half of the events, stay here.
  std::unordered_map<std::uint64_t, bool> stays;
  const std::size_t half = (events.size() + 1) / 2;
  std::size_t seen = 0;
  for (const queue::Event* event = events.front(); event != nullptr; event = event->next) {
    stays.try_emplace(event->lane, seen < half);
    ++seen;
  }
  const bool one_user = stays.size() == 1;
  auto other = std::make_unique<Shipment>();
  other->route = route;
  other->attempts = attempts;
  other->may_have_arrived = may_have_arrived;
  queue::EventList kept;
  while (queue::EventPtr event = events.pop_front()) {
    const bool keep = one_user ? kept.size() < half : stays.at(event->lane);
    (keep ? kept : other->events).push_back(std::move(event));
  }
  events = std::move(kept);
  if (!one_user && other->events.empty()) {
    // One user has nearly all of them, and the others came first: part that user from the others.
    std::uint64_t last_lane = 0;
    for (const queue::Event* event = events.front(); event != nullptr; event = event->next) last_lane = event->lane;
    queue::EventList rest;
    while (queue::EventPtr event = events.pop_front()) {
      (event->lane == last_lane ? other->events : rest).push_back(std::move(event));
    }
    events = std::move(rest);
  }
  if (!one_user) return other;
  other->next = std::move(next);
  next = std::move(other);
  return nullptr;
}

bool Shipment::has_rows() const {
  const queue::Event* event = events.front();
  while (event != nullptr && !event->row) event = event->next;
  return event != nullptr;
}

std::unique_ptr<Shipment> Shipment::part_from_rows() {
  auto other = std::make_unique<Shipment>();
  other->route = route;
  other->attempts = attempts;
  other->may_have_arrived = may_have_arrived;
  other->last = last;
  other->last_status = last_status;
  other->last_body = last_body;
  queue::EventList rows;
  while (queue::EventPtr event = events.pop_front()) {
    (event->row ? rows : other->events).push_back(std::move(event));
  }
  events = std::move(rows);
  return other->events.empty() ? nullptr : std::move(other);
}

}  // namespace intilery::delivery
