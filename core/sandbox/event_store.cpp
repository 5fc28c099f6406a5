#include "event_store.hpp"

#include <algorithm>
#include <cstdio>
#include <random>
#include <utility>

#include "wire_time.hpp"

namespace intilery::testing {

namespace {

using nlohmann::json;

constexpr std::size_t profiles_a_page = 100;
constexpr std::size_t event_overhead = 500;  // its places in the indexes, and its share of a profile

std::string text_of(const json& call, const char* key) {
  const auto found = call.find(key);
  return found != call.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string quoted(const std::string& text) { return json(text).dump(); }

bool matches(const EventQuery& query, const std::string& name) {
  const auto names = [&](const std::vector<std::string>& list) {
    return std::find(list.begin(), list.end(), name) != list.end();
  };
  return (query.include.empty() || names(query.include)) && !names(query.exclude);
}

}  // namespace

std::string random_uuid() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  const std::uint64_t high = (random() & ~0xf000ULL) | 0x4000ULL;
  const std::uint64_t low = (random() >> 2) | (1ULL << 63);
  char text[40];
  std::snprintf(text, sizeof text, "%08x-%04x-%04x-%04x-%012llx", static_cast<unsigned>(high >> 32),
                static_cast<unsigned>(high >> 16 & 0xffff), static_cast<unsigned>(high & 0xffff),
                static_cast<unsigned>(low >> 48), static_cast<unsigned long long>(low & 0xffffffffffffULL));
  return text;
}

void EventStore::add(const Call& call) {
  const std::string timestamp = text_of(*call.call, "timestamp");
  StoredEvent event;
  event.time_ms = parse_wire_time(timestamp).value_or(call.received_ms);
  event.received_ms = call.received_ms;
  event.name = text_of(*call.call, "event");
  if (event.name.empty()) event.name = call.action;

  const std::string user_id = text_of(*call.call, "userId");
  const std::string who = user_id.empty() ? text_of(*call.call, "anonymousId") : user_id;
  event.json = "{\"eventId\":\"" + call.event_id + "\",\"eventTime\":\"" + format_wire_time(event.time_ms) +
               "\",\"receivedTime\":\"" + format_wire_time(call.received_ms) +
               "\",\"eventAction\":" + quoted(call.action) + ",\"clientId\":" + quoted(call.client_id) +
               ",\"accountId\":" + quoted(call.account_id) + ",\"brandId\":" + quoted(call.brand_id) +
               (user_id.empty() ? ",\"anonymousId\":" : ",\"userId\":") + quoted(who) +
               ",\"rawData\":{\"action\":" + quoted(call.action) + ",";
  event.json += call.raw.substr(call.raw.find('{') + 1);
  event.json += '}';

  const auto place = static_cast<std::uint32_t>(count());
  const auto later = [&](const Index& index) {
    return !index.empty() && (index.back() < first_ || at(index.back()).time_ms > event.time_ms);
  };
  if (later(by_time_)) by_time_sorted_ = false;
  by_time_.push_back(place);

  const auto [entry, is_new] = by_user_id_.try_emplace(who, profiles_.size());
  if (is_new) {
    Profile made;
    made.id = random_uuid();
    made.user_id = who;
    made.first_seen_ms = call.received_ms;
    profiles_.push_back(std::move(made));
  }
  Profile& profile = profiles_[entry->second];
  profile.last_seen_ms = call.received_ms;
  if (call.action == "identify") profile.traits.update(call.call->at("traits"));
  if (later(profile.events)) profile.sorted = false;
  profile.events.push_back(place);
  bytes_ += footprint(event);
  events_.push_back(std::move(event));
  while (max_bytes_ > 0 && bytes_ > max_bytes_ && events_.size() > 1) forget_oldest();
  if (untidy_ > events_.size()) tidy();
}

std::size_t EventStore::footprint(const StoredEvent& event) {
  return event_overhead + event.json.size() + event.name.size();
}

void EventStore::forget_oldest() {
  bytes_ -= footprint(events_.front());
  events_.pop_front();
  ++first_;
  ++untidy_;
}

void EventStore::tidy() {
  if (std::exchange(untidy_, 0) == 0) return;
  const auto forgotten = [&](std::uint32_t place) { return place < first_; };
  std::erase_if(by_time_, forgotten);
  for (Profile& profile : profiles_) std::erase_if(profile.events, forgotten);
  std::erase_if(profiles_, [](const Profile& profile) { return profile.events.empty(); });
  by_user_id_.clear();
  for (std::size_t i = 0; i < profiles_.size(); ++i) by_user_id_.emplace(profiles_[i].user_id, i);
}

void EventStore::clear() { *this = EventStore(max_bytes_, visible_after_ms_); }

bool EventStore::is_visible(std::int64_t received_ms) const {
  return visible_after_ms_ == 0 || received_ms + visible_after_ms_ <= wire_now();
}

std::string EventStore::page_of(Index& index, bool& sorted, const EventQuery& query) {
  const auto earlier = [&](std::uint32_t a, std::uint32_t b) { return at(a).time_ms < at(b).time_ms; };
  if (!sorted) {
    std::sort(index.begin(), index.end());  // ties in the order of arrival
    std::stable_sort(index.begin(), index.end(), earlier);
    sorted = true;
  }
  auto first = index.begin();
  auto last = index.end();
  if (query.start_ms) {
    first = std::lower_bound(first, last, *query.start_ms,
                             [&](std::uint32_t e, std::int64_t ms) { return at(e).time_ms < ms; });
  }
  if (query.end_ms) {
    last = std::upper_bound(first, last, *query.end_ms,
                            [&](std::int64_t ms, std::uint32_t e) { return ms < at(e).time_ms; });
  }
  Index filtered;
  if (!query.include.empty() || !query.exclude.empty() || visible_after_ms_ > 0) {
    std::copy_if(first, last, std::back_inserter(filtered),
                 [&](std::uint32_t e) { return matches(query, at(e).name) && is_visible(at(e).received_ms); });
    first = filtered.begin();
    last = filtered.end();
  }
  const auto total = static_cast<std::size_t>(last - first);
  const std::size_t from = std::min(query.from, total);
  const std::size_t to = std::min(total, from + query.size);
  std::string text = "{\"events\":[";
  for (std::size_t i = from; i < to; ++i) {
    if (i > from) text += ',';
    const std::size_t place = query.ascending ? i : total - 1 - i;
    text += at(first[static_cast<std::ptrdiff_t>(place)]).json;
  }
  return text + "],\"total\":" + std::to_string(total) + "}";
}

std::string EventStore::page(const EventQuery& query) {
  tidy();
  return page_of(by_time_, by_time_sorted_, query);
}

std::string EventStore::all() const {
  std::string text = "[";
  for (const StoredEvent& event : events_) {
    if (text.size() > 1) text += ',';
    text += event.json;
  }
  return text + "]";
}

std::vector<const EventStore::Profile*> EventStore::find(const std::string& id_type, const std::string& id) const {
  std::vector<const Profile*> found;
  if (id_type == "userId") {
    const auto entry = by_user_id_.find(id);
    if (entry != by_user_id_.end() && is_visible(profiles_[entry->second].first_seen_ms))
      found.push_back(&profiles_[entry->second]);
    return found;
  }
  for (const Profile& profile : profiles_) {
    const bool is_meant = id_type == "id" ? profile.id == id : text_of(profile.traits, "email") == id;
    if (is_meant && is_visible(profile.first_seen_ms)) found.push_back(&profile);
  }
  return found;
}

std::optional<std::string> EventStore::show(const std::string& id_type, const std::string& id,
                                            const std::function<std::string(const Profile&)>& view) {
  tidy();
  const std::vector<const Profile*> found = find(id_type, id);
  if (found.empty()) return std::nullopt;
  if (id_type != "email") return view(*found.front());
  std::string text = "{\"data\":[";
  for (const Profile* profile : found) {
    if (profile != found.front()) text += ',';
    text += view(*profile);
  }
  return text + "]}";
}

std::optional<std::string> EventStore::profile_events(const std::string& id_type, const std::string& id,
                                                      const EventQuery& query) {
  return show(id_type, id, [&](const Profile& profile) {
    Profile& own = profiles_[static_cast<std::size_t>(&profile - profiles_.data())];
    return page_of(own.events, own.sorted, query);
  });
}

std::optional<std::string> EventStore::profile_traits(const std::string& id_type, const std::string& id) {
  return show(id_type, id, [](const Profile& profile) { return profile.traits.dump(); });
}

json EventStore::meta_of(const Profile& profile) {
  return {{"id", profile.id},
          {"userId", profile.user_id},
          {"firstSeen", format_wire_time(profile.first_seen_ms)},
          {"lastSeen", format_wire_time(profile.last_seen_ms)},
          {"events", profile.events.size()}};
}

std::optional<std::string> EventStore::profile_meta(const std::string& id_type, const std::string& id) {
  return show(id_type, id, [](const Profile& profile) { return meta_of(profile).dump(); });
}

std::string EventStore::profiles(std::size_t scroll_id) {
  tidy();
  json page = json::array();
  const std::size_t from = std::min(scroll_id, profiles_.size());
  const std::size_t to = std::min(profiles_.size(), from + profiles_a_page);
  for (std::size_t i = from; i < to; ++i) {
    json profile = meta_of(profiles_[i]);
    profile["traits"] = profiles_[i].traits;
    page.push_back(std::move(profile));
  }
  json answer{{"profiles", std::move(page)}};
  if (to < profiles_.size()) answer["scrollId"] = std::to_string(to);
  return answer.dump();
}

std::string EventStore::profiles_with(const std::string& text, std::size_t most) {
  tidy();
  json found = json::array();
  std::size_t total = 0;
  for (auto profile = profiles_.rbegin(); profile != profiles_.rend(); ++profile) {
    if (profile->user_id.find(text) == std::string::npos) continue;
    ++total;
    if (found.size() < most) found.push_back(meta_of(*profile));
  }
  return json{{"profiles", std::move(found)}, {"total", total}}.dump();
}

}  // namespace intilery::testing
