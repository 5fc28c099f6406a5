/// \file
/// What reading back must know of an event that was made.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "queue/event.hpp"

namespace intilery::readback {

struct EventFacts {
  std::string user_id;                  ///< Empty: anonymous.
  std::optional<std::int64_t> time_ms;  ///< Its timestamp.
};

EventFacts facts_of(const queue::Event& event);

}  // namespace intilery::readback
