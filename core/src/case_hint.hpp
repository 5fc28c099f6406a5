/// \file
/// The contract's hint on how ids are written.
#pragma once

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>
#include <vector>

#include "intilery/options.hpp"

namespace intilery {

/// The options whose letters are not as usual: `client_id` and `account_id` in lower case, `brand_id` in upper case.
inline std::vector<std::string_view> unusual_cases(const Options& options) {
  const auto has = [](const std::string& text, int (*is)(int)) {
    return std::any_of(text.begin(), text.end(), [&](unsigned char c) { return is(c) != 0; });
  };
  std::vector<std::string_view> names;
  if (has(options.client_id, std::isupper)) names.emplace_back("client_id");
  if (has(options.account_id, std::isupper)) names.emplace_back("account_id");
  if (has(options.brand_id, std::islower)) names.emplace_back("brand_id");
  return names;
}

}  // namespace intilery
