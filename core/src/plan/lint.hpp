/// \file
/// What is allowed in a plan, and hardly meant.
#pragma once

#include "plan/plan.hpp"

namespace intilery::plan {

/// Adds to the problems of a plan that has none: names against the vendor's conventions (Title Case Object + Action,
/// snake_case), rules that nothing can meet or that never apply. None of them is fatal.
void lint(Draft& draft);

}  // namespace intilery::plan
