#include "readback/verifier.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "percent.hpp"
#include "readback/sought.hpp"
#include "readback/sweep.hpp"

namespace intilery::readback {

namespace {

using std::chrono::milliseconds;
using Moment = PageQuery::Moment;

/// When a UUIDv7 was made.
std::optional<Moment> time_of(std::string_view id) {
  if (id.size() != 36 || id[8] != '-' || id[14] != '7') return std::nullopt;
  const std::string digits = std::string(id.substr(0, 8)) + std::string(id.substr(9, 4));
  std::int64_t ms = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), ms, 16).ptr != digits.data() + digits.size())
    return std::nullopt;
  return Moment(milliseconds(ms));
}

/// A while before the first message was made; nothing if that is not known of all.
std::optional<Moment> made_since(std::span<const std::string> message_ids) {
  std::optional<Moment> first;
  for (const std::string& id : message_ids) {
    const std::optional<Moment> made = time_of(id);
    if (!made) return std::nullopt;
    first = first ? std::min(*first, *made) : *made;
  }
  if (first) *first -= std::chrono::minutes(10);  // the service's clock may be behind
  return first;
}

class Reading {
 public:
  Reading(const ReadPage& read, TimePoint deadline, Sought& sought)
      : read_(read), deadline_(deadline), sought_(sought) {}

  /// \returns the parts that hold more events than can be read.
  std::vector<PageQuery> sweep(PageQuery span) {
    Sweep sweep(std::move(span), std::chrono::system_clock::now());
    while (const std::optional<PageQuery> query = sweep.next()) {
      const nlohmann::json events = events_of(read_(path_of(*query), deadline_));
      for (const nlohmann::json& event : events) sought_.see(event);
      sweep.take(events.size());
    }
    return sweep.crowded();
  }

  /// Reads spans by profile, until nothing is missing.
  void by_profile(const std::vector<PageQuery>& spans) {
    std::string scroll_id;
    do {
      const delivery::ReadResult result =
          read_("profiles" + (scroll_id.empty() ? "" : "?scrollId=" + percent_encoded(scroll_id)), deadline_);
      const nlohmann::json profiles = events_of(result);
      for (const nlohmann::json& profile : profiles) {
        if (sought_.complete()) return;
        const auto id = profile.is_object() ? profile.find("id") : profile.end();
        if (id == profile.end() || !id->is_string()) continue;
        for (PageQuery span : spans) {
          span.id_type = "id";
          span.id = id->get<std::string>();
          sweep(span);
        }
      }
      const nlohmann::json whole = nlohmann::json::parse(result.body, nullptr, /*allow_exceptions=*/false);
      scroll_id = whole.is_object() && whole.contains("scrollId") && whole["scrollId"].is_string()
                      ? whole["scrollId"].get<std::string>()
                      : "";
    } while (!scroll_id.empty());
  }

 private:
  const ReadPage& read_;
  TimePoint deadline_;
  Sought& sought_;
};

void read_once(std::span<const std::string> message_ids, const Where& where, Reading reading, const Sought& sought) {
  PageQuery span;
  if (!where.user_id.empty()) {
    span.id_type = "userId";
    span.id = where.user_id;
  }
  span.start = where.start;
  span.end = where.end;
  std::vector<PageQuery> crowded = reading.sweep(span);
  if (!crowded.empty() && !span.start) {
    span.start = made_since(message_ids);
    if (sought.complete() || !span.start) return;
    crowded = reading.sweep(span);
  }
  if (!crowded.empty() && where.user_id.empty()) reading.by_profile(crowded);
}

Verification result_of(std::span<const std::string> message_ids, const Sought& sought) {
  Verification result{.expected = sought.expected(), .found = sought.found(), .missing = {}, .duplicate = {}};
  for (const Sought::Message& message : sought.missing()) result.missing.push_back(message_ids[message.number]);
  for (const Sought::Message& message : sought.duplicate()) result.duplicate.push_back(message_ids[message.number]);
  return result;
}

}  // namespace

Verification verify(std::span<const std::string> message_ids, const Where& where, TimePoint deadline,
                    const ReadPage& read, const std::function<void(TimePoint)>& pause) {
  Sought sought;
  for (std::size_t i = 0; i < message_ids.size(); ++i) sought.add(message_ids[i], i);
  sought.seal();
  milliseconds wait(100);
  for (bool first = true; !message_ids.empty(); first = false) {
    try {
      // Each reading goes through everything, since a duplicate may lie behind the last message that was missing.
      read_once(message_ids, where, Reading(read, deadline, sought), sought);
    } catch (const TimeoutError&) {
      if (first) throw;
      break;
    }
    const TimePoint now = std::chrono::steady_clock::now();
    if (sought.complete() || now >= deadline) break;
    pause(std::min(deadline, now + wait));
    wait = std::min(wait * 2, milliseconds(2'000));
  }
  return result_of(message_ids, sought);
}

}  // namespace intilery::readback
