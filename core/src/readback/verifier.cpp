#include "readback/verifier.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <unordered_set>

namespace intilery::readback {

namespace {

using std::chrono::milliseconds;

constexpr std::size_t page_size = 100;
constexpr std::size_t reach = 10'000;  // the API pages no further

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view hex = "0123456789ABCDEF";
  std::string encoded;
  for (const unsigned char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    if (plain) {
      encoded += static_cast<char>(c);
    } else {
      encoded += {'%', hex[c >> 4], hex[c & 0xf]};
    }
  }
  return encoded;
}

/// The events of a page. The contract names no wrapper, so the first array is taken: `[…]`, `{"events": […]}` ….
const nlohmann::json* events_of(const nlohmann::json& page) {
  if (page.is_array()) return &page;
  if (!page.is_object()) return nullptr;
  for (const auto& member : page) {
    if (member.is_array()) return &member;
  }
  return nullptr;
}

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
  const std::string source =
      user_id.empty() ? std::string("events") : "profiles/userId:" + percent_encoded(user_id) + "/events";
  std::optional<Verification> last;
  milliseconds wait(100);
  for (;;) {
    Sightings sightings(message_ids);
    // Each reading goes through all pages, since a duplicate may lie behind the last message that was missing.
    for (std::size_t from = 0; from < reach && !message_ids.empty(); from += page_size) {
      delivery::ReadResult result;
      try {
        result = read(source + "?size=" + std::to_string(page_size) + "&from=" + std::to_string(from), deadline);
      } catch (const TimeoutError&) {
        if (last) return *last;
        throw;
      }
      if (result.error) throw_error(std::move(*result.error));
      if (result.status == 404) break;  // nobody by that id, so far
      const nlohmann::json page = nlohmann::json::parse(result.body, nullptr, /*allow_exceptions=*/false);
      const nlohmann::json* events = events_of(page);
      if (events == nullptr) {
        throw_error({.kind = ErrorKind::delivery,
                     .code = "invalid_answer",
                     .message = "reading back: the server's answer holds no list of events",
                     .status = result.status});
      }
      for (const nlohmann::json& event : *events) sightings.add(event);
      if (events->size() < page_size) break;
    }
    last = sightings.result(message_ids);
    const TimePoint now = std::chrono::steady_clock::now();
    if (sightings.complete() || now >= deadline) return *last;
    pause(std::min(deadline, now + wait));
    wait = std::min(wait * 2, milliseconds(2'000));
  }
}

}  // namespace intilery::readback
