/// \file
/// A schema, compiled: what is checked of a value.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plan/decimal.hpp"
#include "plan/pattern.hpp"

namespace intilery::plan {

/// Kinds of values, as bits. A number may be of both of its kinds.
enum Type : std::uint8_t {
  null_type = 1,
  boolean_type = 2,
  integer_type = 4,
  fraction_type = 8,  ///< A number that is no integer.
  string_type = 16,
  array_type = 32,
  object_type = 64,
  number_type = integer_type | fraction_type,
  any_type = 127,
};

struct Rules;

/// A property that a schema names.
struct Property {
  std::string name;
  const Rules* rules = nullptr;         ///< Null: anything goes.
  std::optional<std::size_t> required;  ///< Its place in `required`.

  /// Whether the name, in quotes, stands at `at`. May say no where it does.
  bool stands_at(const char* at, const char* end) const {
    if (end - at < 17) return false;
    std::uint64_t met[2];
    std::memcpy(met, at + 1, sizeof met);
    return ((met[0] ^ quoted[0]) & mask[0]) == 0 && ((met[1] ^ quoted[1]) & mask[1]) == 0;
  }
  // The name and its closing quote, as they stand in memory, if they have 16 bytes at most and no escape.
  std::uint64_t quoted[2] = {~std::uint64_t{0}, 0};
  std::uint64_t mask[2] = {~std::uint64_t{0}, 0};
};

/// Properties by name.
class PropertyTable {
 public:
  static constexpr std::size_t max_size = 10'000;

  void build(std::vector<Property> properties);
  const Property* find(std::string_view name) const;
  /// The property whose name stands between quotes at `at`, with no escape in it, if it is the one that came after
  /// `previous` (null: that came first) the last time: events of one kind are written in one order.
  const Property* guess(const Property* previous, const char* at, const char* end) const {
    const Property& expected = properties_[successor(previous).load(std::memory_order_relaxed)];
    return expected.stands_at(at, end) ? &expected : nullptr;
  }
  /// Remembers what came after `previous`.
  void learn(const Property* previous, const Property* next) const {
    successor(previous).store(static_cast<std::uint16_t>(next - properties_.data()), std::memory_order_relaxed);
  }
  const std::vector<Property>& all() const { return properties_; }

 private:
  std::atomic<std::uint16_t>& successor(const Property* property) const {
    return successors_[property == nullptr ? properties_.size()
                                           : static_cast<std::size_t>(property - properties_.data())];
  }

  std::vector<Property> properties_;
  std::unique_ptr<std::atomic<std::uint16_t>[]> successors_;  ///< Of each property; at last, the first one.
  std::vector<std::uint16_t> slots_;  ///< Open addressing; 0: free, else the place in `properties_` from 1.
};

/// A bound on numbers.
struct Bound {
  std::string text;  ///< As the plan has it.
  Decimal value;
  std::optional<Small> small;
  explicit Bound(std::string given) : text(std::move(given)), value(text), small(Small::of(text)) {}
  Bound(const Bound&) = delete;  // `value` looks into `text`
  Bound& operator=(const Bound&) = delete;
};

/// One schema. Immutable once compiled, and shared by threads.
struct Rules {
  std::string pointer;  ///< Where the schema stands in the plan.
  bool never = false;   ///< The schema `false`.
  std::uint8_t types = any_type;
  std::string type_text;  ///< "an integer or null", for messages.

  std::vector<const Rules*> references;  ///< `$ref`.

  bool has_enum = false;
  std::vector<std::string> texts;        ///< Its strings, sorted.
  std::vector<std::string> enumeration;  ///< All else, canonical and sorted.
  std::optional<std::string> constant;   ///< Canonical.

  std::optional<std::size_t> min_length, max_length;
  std::optional<Pattern> pattern;

  std::unique_ptr<const Bound> minimum, maximum, exclusive_minimum, exclusive_maximum;
  std::optional<Divisor> multiple_of;
  std::string multiple_of_text;

  std::optional<std::size_t> min_items, max_items;
  bool unique_items = false;
  const Rules* items = nullptr;

  static constexpr std::size_t max_required = 1024;
  PropertyTable properties;
  std::size_t required_count = 0;

  // What need not be looked at, in one look.
  bool checks_values = false;   ///< enum or const.
  bool checks_strings = false;  ///< A length or a pattern.
  bool checks_numbers = false;
  bool checks_items = false;
};

}  // namespace intilery::plan
