/// \file
/// The parts of a JSON text as they stand, so that what was sent can be shown byte for byte.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace intilery::testing {

/// Keys (unescaped) and values of an object, those of a key that stands twice too. The text must be valid JSON.
std::vector<std::pair<std::string, std::string_view>> members_of(std::string_view object);

/// Elements of an array. The text must be valid JSON.
std::vector<std::string_view> elements_of(std::string_view array);

}  // namespace intilery::testing
