/// \file
/// `diagnose` for a language that waits in its own way.
#pragma once

#include <string>
#include <vector>

#include "intilery/diagnose.hpp"
#include "waiting.hpp"

namespace intilery {

/// \param user_agent of whoever asks.
std::vector<Check> diagnose(const Options& options, const OptionStyle& style, const std::string& user_agent,
                            Waiting& waiting);

}  // namespace intilery
