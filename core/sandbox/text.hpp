/// \file
/// Parts of addresses.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace intilery::testing {

std::vector<std::string> split(std::string_view text, char separator);

std::string percent_decoded(std::string_view text);

}  // namespace intilery::testing
