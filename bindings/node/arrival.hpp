/// \file
/// What became of an expectation, as node/testing.cjs takes it.
#pragma once

#include <napi.h>

#include "intilery/testing.hpp"

namespace intilery::testing {

/// \returns `[event, report]`; one of them is empty.
inline Napi::Value to_js(Napi::Env env, const Arrival& arrival) {
  Napi::Array array = Napi::Array::New(env, 2);
  array.Set(0U, arrival.event_json);
  array.Set(1U, arrival.report);
  return array;
}

}  // namespace intilery::testing
