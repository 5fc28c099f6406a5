#include "plan/rules.hpp"

#include <bit>
#include <cstring>
#include <utility>

namespace intilery::plan {

namespace {

/// The length and the first and last bytes tell most names apart.
std::size_t hash(std::string_view name) {
  std::uint64_t head = 0;
  std::uint64_t tail = 0;
  const std::size_t size = name.size();
  if (size >= 8) {
    std::memcpy(&head, name.data(), 8);
    std::memcpy(&tail, name.data() + size - 8, 8);
  } else {
    for (const char c : name) head = head << 8 | static_cast<unsigned char>(c);
  }
  std::uint64_t mixed = (head ^ size) * 0x9e3779b97f4a7c15;
  mixed = (mixed ^ mixed >> 32 ^ tail) * 0x9e3779b97f4a7c15;
  return static_cast<std::size_t>(mixed >> 32);
}

}  // namespace

void PropertyTable::build(std::vector<Property> properties) {
  properties_ = std::move(properties);
  if (properties_.empty()) return;
  successors_ = std::make_unique<std::atomic<std::uint16_t>[]>(properties_.size() + 1);
  for (Property& property : properties_) {
    const std::string text = property.name + '"';
    const bool plain = text.find('"') == property.name.size() && text.find('\\') == std::string::npos;
    if (text.size() > sizeof property.quoted || !plain) continue;
    char mask[sizeof property.mask] = {};
    std::memset(mask, 0xff, text.size());
    char quoted[sizeof property.quoted] = {};
    std::memcpy(quoted, text.data(), text.size());
    std::memcpy(property.mask, mask, sizeof mask);
    std::memcpy(property.quoted, quoted, sizeof quoted);
  }
  slots_.assign(std::bit_ceil(properties_.size() * 2), 0);
  for (std::size_t i = 0; i < properties_.size(); ++i) {
    std::size_t slot = hash(properties_[i].name);
    while (slots_[slot & (slots_.size() - 1)] != 0) ++slot;
    slots_[slot & (slots_.size() - 1)] = static_cast<std::uint16_t>(i + 1);
  }
}

const Property* PropertyTable::find(std::string_view name) const {
  if (slots_.empty()) return nullptr;
  for (std::size_t slot = hash(name);; ++slot) {
    const std::uint16_t place = slots_[slot & (slots_.size() - 1)];
    if (place == 0) return nullptr;
    const Property& property = properties_[place - 1];
    if (property.name == name) return &property;
  }
}

}  // namespace intilery::plan
