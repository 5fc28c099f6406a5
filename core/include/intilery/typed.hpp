#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

// What clients made by `intilery plan codegen` are made of: docs/typed-events.md.

namespace intilery {

/// One of several types. A value takes the one that it fits without loss.
template <class... Types>
struct OneOf : std::variant<Types...> {
  using std::variant<Types...>::variant;
  friend void to_json(nlohmann::json& json, const OneOf& value) {
    std::visit([&json](const auto& each) { json = each; }, static_cast<const std::variant<Types...>&>(value));
  }
};

namespace typed {

/// Stricter than C++: text is no bool, a fraction no integer, a bool no number.
template <class Given, class Type>
concept Fits = std::is_same_v<std::remove_cvref_t<Given>, Type> ||
               (std::is_same_v<Type, double> ? std::is_arithmetic_v<std::remove_cvref_t<Given>> &&
                                                   !std::is_same_v<std::remove_cvref_t<Given>, bool>
                : std::is_same_v<Type, bool> ? false
                : std::is_arithmetic_v<Type> ? std::is_integral_v<std::remove_cvref_t<Given>> &&
                                                   !std::is_same_v<std::remove_cvref_t<Given>, bool>
                                             : std::is_convertible_v<Given, Type>);

}  // namespace typed

/// A member that must be given: it has no default, so leaving it out does not compile.
template <class Type>
class Required {
 public:
  template <class Given>
    requires typed::Fits<Given, Type>
  Required(Given&& value) : value_(static_cast<Type>(std::forward<Given>(value))) {}  // NOLINT: meant to be implicit
  /// Of an array.
  template <class Item>
    requires std::is_constructible_v<Type, const Item*, const Item*> && typed::Fits<Item, typename Type::value_type>
  Required(std::initializer_list<Item> items) : value_(items.begin(), items.end()) {}

  [[nodiscard]] const Type& operator*() const { return value_; }
  void put(nlohmann::json& json, std::string_view name) const { json[name] = value_; }

 private:
  Type value_;
};

/// A member that may be left out; the event does not have it then.
template <class Type>
class Optional {
 public:
  Optional() = default;
  template <class Given>
    requires typed::Fits<Given, Type>
  Optional(Given&& value) : value_(static_cast<Type>(std::forward<Given>(value))) {}  // NOLINT: meant to be implicit
  template <class Item>
    requires std::is_constructible_v<Type, const Item*, const Item*> && typed::Fits<Item, typename Type::value_type>
  Optional(std::initializer_list<Item> items) : value_(std::in_place, items.begin(), items.end()) {}

  [[nodiscard]] const std::optional<Type>& operator*() const { return value_; }
  void put(nlohmann::json& json, std::string_view name) const {
    if (value_) json[name] = *value_;
  }

 private:
  std::optional<Type> value_;
};

}  // namespace intilery
