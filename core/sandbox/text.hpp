/// \file
/// Parts of addresses.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace intilery::testing {

std::vector<std::string> split(std::string_view text, char separator);

}  // namespace intilery::testing
