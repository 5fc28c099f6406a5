/// \file
/// Whether events whose acknowledgement was lost have arrived.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <unordered_map>

#include "queue/event_list.hpp"
#include "readback/page.hpp"

namespace intilery::readback {

/// Looks for the events of one request among those that can be read back. Does no I/O: its owner reads the page that
/// `next` wants, and gives it to `take`. docs/delivery.md says what is read.
class ArrivalCheck {
 public:
  /// \param sent_ms when the request left, since the Unix epoch.
  ArrivalCheck(const queue::EventList& events, std::int64_t sent_ms);

  /// The page to be read; nothing once it is known what arrived.
  std::optional<PageQuery> next() const;
  /// \param page an array of events.
  void take(const nlohmann::json& page);
  /// The service's id of an event that is there. Null: it is not.
  const std::string* event_id(const std::string& message_id) const;

 private:
  struct Span {
    std::int64_t first_ms;
    std::int64_t last_ms;
    std::size_t missing = 0;  ///< Events that were not found yet.
  };
  struct Sought {
    std::string user_id;  ///< Empty: anonymous.
    std::optional<std::string> event_id;
  };

  void ask(const std::string& user_id, const Span& span);
  void ask_users();

  const std::int64_t sent_ms_;
  std::unordered_map<std::string, Sought> sought_;  ///< By message id.
  std::map<std::string, Span> users_;               ///< By user id; the anonymous are one.
  std::size_t missing_ = 0;
  std::deque<PageQuery> queries_;
  bool asks_account_ = false;  ///< First all of the account's events.
  bool cut_ = false;           ///< Of which there were more than can be read.
};

}  // namespace intilery::readback
