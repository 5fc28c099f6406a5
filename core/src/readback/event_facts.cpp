#include "readback/event_facts.hpp"

#include "event/bad_value.hpp"
#include "event/json_check.hpp"
#include "event/timestamp.hpp"

namespace intilery::readback {

EventFacts facts_of(const queue::Event& event) {
  EventFacts facts;
  const std::string object = std::string(event.bytes()) + "}";
  for (const event::JsonMember& member : event::members_of(object)) {
    if (member.key == "userId") facts.user_id = event::unescape(member.value);
    if (member.key != "timestamp") continue;
    try {
      facts.time_ms = event::parse_timestamp(event::unescape(member.value));
    } catch (const event::BadValue&) {  // of a message that the caller made; then it has none
    }
  }
  return facts;
}

}  // namespace intilery::readback
