/// \file
/// What was accepted, and the read API's views on it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace intilery::testing {

/// One stored event. Its JSON text is made once, on arrival.
struct StoredEvent {
  std::int64_t time_ms = 0;  ///< Its own timestamp, or its arrival.
  std::int64_t received_ms = 0;
  std::string name;
  std::string json;  ///< As the read API shows it.
};

/// Which events a read wants.
struct EventQuery {
  std::vector<std::string> include;  ///< By name; empty: all.
  std::vector<std::string> exclude;
  std::optional<std::int64_t> start_ms;  ///< From, inclusive.
  std::optional<std::int64_t> end_ms;    ///< Up to, inclusive.
  bool ascending = false;
  std::size_t from = 0;
  std::size_t size = 10;
};

/// Events by time and by user, and profiles. Not thread-safe.
class EventStore {
 public:
  /// \param max_bytes bound on what is remembered. The oldest events go first, and with its last event a profile.
  /// 0: no bound.
  /// \param visible_after_ms how long after their arrival the read API's views show events and new profiles.
  explicit EventStore(std::size_t max_bytes = 0, std::int64_t visible_after_ms = 0)
      : max_bytes_(max_bytes), visible_after_ms_(visible_after_ms) {}

  struct Call {
    std::string action;
    std::string brand_id;
    std::string client_id;
    std::string account_id;
    std::string_view raw;        ///< The call's text.
    const nlohmann::json* call;  ///< The same, parsed.
    std::int64_t received_ms;
    std::string event_id;
  };
  void add(const Call& call);
  void clear();
  /// Events that were added, whether they are still remembered or not.
  std::size_t count() const { return first_ + events_.size(); }
  /// The place, in the order of arrival, of the first that is remembered.
  std::size_t first() const { return first_; }
  /// An event's text, by its place, from `first` to `count`.
  const std::string& text(std::size_t place) const { return events_[place - first_].json; }

  /// `{"events":[…],"total":N}`: the page, and how many events the query matches in all.
  std::string page(const EventQuery& query);
  /// All events in the order of their arrival, as a JSON array.
  std::string all() const;

  // `id_type` is userId, email or id. Nothing: no such profile.
  std::optional<std::string> profile_events(const std::string& id_type, const std::string& id, const EventQuery& query);
  std::optional<std::string> profile_traits(const std::string& id_type, const std::string& id);
  std::optional<std::string> profile_meta(const std::string& id_type, const std::string& id);
  /// 100 profiles from `scroll_id` on.
  std::string profiles(std::size_t scroll_id);
  /// `{"profiles":[…],"total":N}`: the newest of those whose user id contains the text, and how many do.
  std::string profiles_with(const std::string& text, std::size_t most);

 private:
  using Index = std::vector<std::uint32_t>;  ///< Places of events, in the order of their arrival from 0 on.
  struct Profile {
    std::string id;
    std::string user_id;
    nlohmann::json traits = nlohmann::json::object();
    std::int64_t first_seen_ms = 0;
    std::int64_t last_seen_ms = 0;
    Index events;
    bool sorted = true;
  };
  StoredEvent& at(std::uint32_t place) { return events_[place - first_]; }
  static std::size_t footprint(const StoredEvent& event);
  void forget_oldest();
  /// Takes what was forgotten out of the indexes, which is dear: now and then, and before they are read.
  void tidy();
  std::string page_of(Index& index, bool& sorted, const EventQuery& query);
  std::vector<const Profile*> find(const std::string& id_type, const std::string& id) const;
  std::optional<std::string> show(const std::string& id_type, const std::string& id,
                                  const std::function<std::string(const Profile&)>& view);
  static nlohmann::json meta_of(const Profile& profile);
  bool is_visible(std::int64_t received_ms) const;

  std::size_t max_bytes_;
  std::int64_t visible_after_ms_;
  std::size_t bytes_ = 0;
  std::deque<StoredEvent> events_;
  std::size_t first_ = 0;   ///< The place of the first of them.
  std::size_t untidy_ = 0;  ///< Events that the indexes have still, and `events_` no longer.
  Index by_time_;
  bool by_time_sorted_ = true;
  std::vector<Profile> profiles_;                            ///< In the order of their making.
  std::unordered_map<std::string, std::size_t> by_user_id_;  ///< Place in `profiles_`.
};

/// A random UUID (version 4).
std::string random_uuid();

}  // namespace intilery::testing
