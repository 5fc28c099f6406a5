/// \file
/// Wire bytes against rules.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "intilery/errors.hpp"
#include "plan/rules.hpp"

namespace intilery::plan {

/// Most violations that are told of one event.
constexpr std::size_t max_violations = 100;

/// Checks a value that is valid JSON without surrounding space. A member that stands twice is checked twice.
/// Costs no allocation where nothing is wrong, but for text with escapes and objects that are compared.
/// \param root what paths begin with.
/// \returns what is wrong, in the order of the value, but missing members after those that are there.
std::vector<Violation> check(std::string_view json, const Rules& rules, std::string_view root);

}  // namespace intilery::plan
