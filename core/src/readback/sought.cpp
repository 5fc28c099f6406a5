#include "readback/sought.hpp"

#include <algorithm>
#include <functional>

#include "event/blake2b.hpp"
#include "readback/page.hpp"

namespace intilery::readback {

namespace {

using Key = std::array<std::uint8_t, 16>;

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool is_dash(std::size_t at) { return at == 8 || at == 13 || at == 18 || at == 23; }

/// False: it is none, as the clients write them.
bool read_uuid(std::string_view text, Key& key) {
  if (text.size() != 36) return false;
  std::size_t digits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_dash(i)) {
      if (text[i] != '-') return false;
      continue;
    }
    const int value = digit(text[i]);
    if (value < 0) return false;
    std::uint8_t& byte = key[digits / 2];
    byte = static_cast<std::uint8_t>(digits % 2 == 0 ? value << 4 : byte | value);
    ++digits;
  }
  return true;
}

std::string uuid_text(const Key& key) {
  constexpr std::string_view hex = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : key) {
    if (is_dash(text.size())) text += '-';
    text += {hex[byte >> 4], hex[byte & 0xf]};
  }
  return text;
}

bool key_of(std::string_view message_id, Key& key) {
  if (read_uuid(message_id, key)) return true;
  event::Blake2b hash;
  hash.add(message_id);
  key = hash.finish();
  return false;
}

}  // namespace

void Sought::add(std::string_view message_id, std::uint64_t number) {
  Entry& entry = messages_.emplace_back();
  entry.number = number & 0x1fff'ffff'ffff'ffff;
  entry.is_uuid = key_of(message_id, entry.key) ? 1 : 0;
  entry.seen = entry.twice = 0;
}

void Sought::seal() {
  std::sort(messages_.begin(), messages_.end(),
            [](const Entry& a, const Entry& b) { return a.key != b.key ? a.key < b.key : a.number < b.number; });
  const auto end =
      std::unique(messages_.begin(), messages_.end(), [](const Entry& a, const Entry& b) { return a.key == b.key; });
  repeated_ = static_cast<std::size_t>(messages_.end() - end);
  messages_.erase(end, messages_.end());
}

void Sought::see(const nlohmann::json& event) {
  const std::string* const id = message_id_of(event);
  if (id == nullptr) return;
  Key key{};
  key_of(*id, key);
  const auto entry = std::lower_bound(messages_.begin(), messages_.end(), key,
                                      [](const Entry& a, const Key& wanted) { return a.key < wanted; });
  if (entry == messages_.end() || entry->key != key) return;
  const std::uint64_t hash = std::hash<std::string>()(event_id_of(event));
  if (entry->seen == 0) {
    entry->seen = 1;
    entry->event = hash;
    ++found_;
  } else if (entry->event != hash) {
    entry->twice = 1;
  }
}

template <class Wanted>
std::vector<Sought::Message> Sought::select(Wanted wanted) const {
  std::vector<Message> chosen;
  for (const Entry& entry : messages_) {
    if (wanted(entry)) chosen.push_back({entry.number, entry.is_uuid == 1 ? uuid_text(entry.key) : std::string()});
  }
  std::sort(chosen.begin(), chosen.end(), [](const Message& a, const Message& b) { return a.number < b.number; });
  return chosen;
}

std::vector<Sought::Message> Sought::missing() const {
  return select([](const Entry& entry) { return entry.seen == 0; });
}

std::vector<Sought::Message> Sought::duplicate() const {
  return select([](const Entry& entry) { return entry.twice == 1; });
}

}  // namespace intilery::readback
