/// \file
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace intilery {

/// What to add to an error about an unknown name: `; did you mean "flush_at"?`, or nothing if no candidate is near.
std::string did_you_mean(std::string_view name, std::span<const std::string_view> candidates);

}  // namespace intilery
