/// \file
/// Proof by reading back.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "intilery/delivery.hpp"
#include "readback/page.hpp"

namespace intilery::readback {

/// Which events are read: a user's or the account's, of a span of time.
struct Where {
  std::string_view user_id = {};
  std::optional<PageQuery::Moment> start = {};
  std::optional<PageQuery::Moment> end = {};
};

/// Looks for messages until all are there or the deadline. With a `start` it reads everything from there on, over the
/// paging limit (Sweep; a millisecond that holds too many, by profile). Without, the newest events within the API's
/// reach; where those were too many, and a message is missing, everything since the first of the messages was made, if
/// their ids say when (UUIDv7).
/// \param pause waits until a moment.
/// \throws DeliveryError, AuthError, TimeoutError (if not even one reading was complete).
Verification verify(std::span<const std::string> message_ids, const Where& where, TimePoint deadline,
                    const ReadPage& read, const std::function<void(TimePoint)>& pause);

}  // namespace intilery::readback
