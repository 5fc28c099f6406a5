#include "brands.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "intilery/errors.hpp"

namespace intilery {

std::uint16_t Brands::number_of(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find(names_.begin(), names_.end(), name);
  if (found != names_.end()) return static_cast<std::uint16_t>(found - names_.begin());
  Options changed = options_;
  changed.brand_id = name;
  check_options(changed, style_);
  if (names_.size() > std::numeric_limits<std::uint16_t>::max()) {
    throw ConfigurationError("brand_id", "out_of_bounds", "brand_id: a client has at most 65,536 brands");
  }
  names_.push_back(std::move(changed.brand_id));
  return static_cast<std::uint16_t>(names_.size() - 1);
}

std::string Brands::name_of(std::uint16_t number) const {
  const std::lock_guard lock(mutex_);
  return names_.at(number);
}

}  // namespace intilery
