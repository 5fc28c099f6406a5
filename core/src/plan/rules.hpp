/// \file
/// A schema, compiled: what is checked of a value.
#pragma once

#include <cstdint>
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
};

/// Properties by name.
class PropertyTable {
 public:
  void build(std::vector<Property> properties);
  const Property* find(std::string_view name) const;
  const std::vector<Property>& all() const { return properties_; }

 private:
  std::vector<Property> properties_;
  std::vector<std::uint16_t> slots_;  ///< Open addressing; 0: free, else the place in `properties_` from 1.
};

/// A bound on numbers.
struct Bound {
  std::string text;  ///< As the plan has it.
  Decimal value;
  explicit Bound(std::string given) : text(std::move(given)), value(text) {}
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
  std::vector<std::string> enumeration;  ///< Canonical, sorted.
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
  bool checks_values = false;   ///< enum, const, $ref.
  bool checks_strings = false;  ///< A length or a pattern.
  bool checks_numbers = false;
  bool checks_items = false;
};

}  // namespace intilery::plan
