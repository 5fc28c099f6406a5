#include "queue/event.hpp"

#include <cstring>
#include <new>
#include <nlohmann/json.hpp>

namespace intilery::queue {

EventPtr Event::make(std::string_view bytes) {
  void* memory = ::operator new(sizeof(Event) + bytes.size());
  EventPtr event(new (memory) Event);
  std::memcpy(event.get() + 1, bytes.data(), bytes.size());
  event->size = static_cast<std::uint32_t>(bytes.size());
  return event;
}

std::string Event::message_id() const {
  const std::string_view text = bytes().substr(size - 1 - id_size, id_size);  // before the closing quote
  if (text.find('\\') == std::string_view::npos) return std::string(text);
  return nlohmann::json::parse('"' + std::string(text) + '"').get<std::string>();
}

void EventDeleter::operator()(Event* event) const noexcept {
  event->~Event();
  ::operator delete(event);
}

}  // namespace intilery::queue
