/// \file
/// The core's results as JavaScript values.
#pragma once

#include <napi.h>

#include <nlohmann/json.hpp>

#include "intilery/delivery.hpp"
#include "intilery/errors.hpp"
#include "intilery/options.hpp"

namespace intilery::node {

/// How Node writes options: camelCase, times in milliseconds.
inline constexpr OptionStyle style{.camel_case = true, .duration_unit = std::chrono::milliseconds(1)};

/// What node/errors.cjs makes an error of: `{kind, code, message, path, arrived, status, body, attempts}`.
nlohmann::json to_json(const ErrorInfo& error);
Napi::Object to_js(Napi::Env env, const ErrorInfo& error);
Napi::Object to_js(Napi::Env env, const Flush& flush);
Napi::Object to_js(Napi::Env env, const Stats& stats);
Napi::Object to_js(Napi::Env env, const Verification& verification);
/// The option's name in camelCase, and the rest of what is known of it.
Napi::Object to_js(Napi::Env env, const OptionInfo& option);

/// `flushAt` for `flush_at`.
std::string camel_case(std::string_view snake_case);

}  // namespace intilery::node
