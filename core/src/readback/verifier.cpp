#include "readback/verifier.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <unordered_set>

namespace intilery::readback {

namespace {

using std::chrono::milliseconds;

/// How often each wanted message was seen, under distinct event ids.
class Sightings {
 public:
  explicit Sightings(std::span<const std::string> wanted) : wanted_(wanted.begin(), wanted.end()) {}

  void add(const nlohmann::json& event) {
    if (!event.is_object()) return;
    const auto data = event.find("rawData");
    if (data == event.end() || !data->is_object()) return;
    const auto id = data->find("messageId");
    if (id == data->end() || !id->is_string() || !wanted_.contains(id->get_ref<const std::string&>())) return;
    const std::string event_id = event.value("eventId", std::string());
    // Pages shift while events arrive, so the same event may be met twice.
    if (seen_events_.insert(event_id).second) ++seen_[id->get<std::string>()];
  }
  bool complete() const { return seen_.size() == wanted_.size(); }

  Verification result(std::span<const std::string> message_ids) const {
    Verification result;
    std::unordered_set<std::string> told;
    for (const std::string& id : message_ids) {
      if (!told.insert(id).second) continue;
      ++result.expected;
      const auto found = seen_.find(id);
      if (found == seen_.end()) {
        result.missing.push_back(id);
        continue;
      }
      ++result.found;
      if (found->second > 1) result.duplicate.push_back(id);
    }
    return result;
  }

 private:
  std::unordered_set<std::string> wanted_;
  std::unordered_set<std::string> seen_events_;
  std::unordered_map<std::string, int> seen_;
};

}  // namespace

Verification verify(std::span<const std::string> message_ids, std::string_view user_id, TimePoint deadline,
                    const ReadPage& read, const std::function<void(TimePoint)>& pause) {
  PageQuery query;
  if (!user_id.empty()) {
    query.id_type = "userId";
    query.id = user_id;
  }
  std::optional<Verification> last;
  milliseconds wait(100);
  for (;;) {
    Sightings sightings(message_ids);
    // Each reading goes through all pages, since a duplicate may lie behind the last message that was missing.
    for (query.from = 0; query.from < reach && !message_ids.empty(); query.from += page_size) {
      nlohmann::json events;
      try {
        events = events_of(read(path_of(query), deadline));
      } catch (const TimeoutError&) {
        if (last) return *last;
        throw;
      }
      for (const nlohmann::json& event : events) sightings.add(event);
      if (events.size() < page_size) break;
    }
    last = sightings.result(message_ids);
    const TimePoint now = std::chrono::steady_clock::now();
    if (sightings.complete() || now >= deadline) return *last;
    pause(std::min(deadline, now + wait));
    wait = std::min(wait * 2, milliseconds(2'000));
  }
}

}  // namespace intilery::readback
