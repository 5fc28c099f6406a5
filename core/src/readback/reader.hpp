/// \file
/// Reads lists to their end, within the limits of the API.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "intilery/reading.hpp"
#include "readback/page.hpp"

namespace intilery::readback {

/// One list of events in the order of time, the brand's or a profile's. Behind the API's reach of 10,000 it goes on by
/// moving the window of time to where it is. Pages shift while events arrive, and windows overlap: what was seen is
/// skipped.
class EventStream {
 public:
  explicit EventStream(PageQuery query) : query_(std::move(query)) {}

  /// Reads until an event waits or there are no more. If it throws, it can be called again.
  void fill(const ReadPage& read, TimePoint deadline);
  /// Whether `fill` has nothing to do.
  bool is_filled() const { return ended_ || !waiting_.empty(); }

  std::deque<Event>& waiting() { return waiting_; }

 private:
  void fetch(const ReadPage& read, TimePoint deadline);
  void move_window();
  /// Where the window begins, in the order of reading.
  std::optional<PageQuery::Moment>& bound() { return query_.ascending ? query_.start : query_.end; }

  PageQuery query_;
  std::deque<Event> waiting_;
  bool ended_ = false;
  /// The events of this window by their id, and those of the one before that may be in this one, too.
  std::unordered_map<std::string, std::optional<std::int64_t>> seen_;
  std::optional<std::int64_t> last_ms_;        ///< Time of the last event.
  bool bound_is_unproven_ = false;             ///< The window was moved, and it is not known whether its bound is in.
  std::chrono::milliseconds bound_margin_{0};  ///< What to add to a bound so that it is.
};

/// The events that a query wants.
class EventReader {
 public:
  /// \throws ValidationError.
  explicit EventReader(EventQuery query);

  /// Some more, about a page; none at the end. If it throws, it can be called again.
  /// \throws DeliveryError, AuthError, and what `read` throws.
  std::vector<Event> next(const ReadPage& read, TimePoint deadline);

 private:
  void add_stream(std::string id_type, std::string id);
  void find_streams(const ReadPage& read, TimePoint deadline);

  const EventQuery query_;
  std::size_t left_;
  bool found_ = false;
  std::vector<EventStream> streams_;  ///< More than one if an email is that of several customers.
};

/// All profiles, or those that have an email.
class ProfileReader {
 public:
  /// \param email empty: all.
  explicit ProfileReader(std::string email = {}) : email_(std::move(email)) {}

  /// As EventReader::next.
  std::vector<Profile> next(const ReadPage& read, TimePoint deadline);

 private:
  const std::string email_;
  std::string scroll_id_;
  bool ended_ = false;
};

/// \throws ValidationError, also if several customers have the email; DeliveryError, AuthError, and what `read` throws.
std::optional<Profile> find_profile(const ProfileKey& key, const ReadPage& read, TimePoint deadline);

/// The readers for a language that asks and is answered in JSON. docs/reading.md has the names of a query's members, as
/// Node writes them; a null is as good as none.
class JsonReader {
 public:
  /// \param what `events`, `profile` or `profiles`.
  /// \throws ValidationError.
  JsonReader(std::string_view what, const nlohmann::json& query);

  /// An array, empty at the end. The members are those of Event and Profile in camelCase; moments are milliseconds
  /// since the Unix epoch, and what is not there is null.
  std::string next(const ReadPage& read, TimePoint deadline);

 private:
  std::variant<EventReader, ProfileReader, std::optional<ProfileKey>> reader_;
};

}  // namespace intilery::readback
