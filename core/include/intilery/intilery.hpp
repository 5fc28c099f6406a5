/// \file
/// The Intilery client: `intilery::Client`, its `Options`, `Delivery` and errors. See README.md for a first program.
#pragma once

// IWYU pragma: begin_exports
#include "intilery/client.hpp"
#include "intilery/delivery.hpp"
#include "intilery/diagnose.hpp"
#include "intilery/errors.hpp"
#include "intilery/options.hpp"
#include "intilery/reading.hpp"
#include "intilery/version.hpp"
// IWYU pragma: end_exports
