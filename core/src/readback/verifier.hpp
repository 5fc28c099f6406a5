/// \file
/// Proof by reading back.
#pragma once

#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "intilery/delivery.hpp"
#include "readback/page.hpp"

namespace intilery::readback {

/// Looks for messages among the events of a user, or the account's newest, in pages of 100 and within the API's reach
/// of 10,000, until all are there or the deadline.
/// \param pause waits until a moment.
/// \throws DeliveryError, AuthError, TimeoutError (if not even one reading was complete).
Verification verify(std::span<const std::string> message_ids, std::string_view user_id, TimePoint deadline,
                    const ReadPage& read, const std::function<void(TimePoint)>& pause);

}  // namespace intilery::readback
