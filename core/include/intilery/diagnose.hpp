/// \file
/// What stands between a client and the service.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "intilery/export.hpp"
#include "intilery/options.hpp"

namespace intilery {

enum class CheckResult {
  ok,
  warning,  ///< It works, but see the advice.
  failed,   ///< A client with these options will not deliver, or not do what they ask for.
  skipped,  ///< Does not apply, or cannot be seen.
};

/// `ok`, `warning`, `failed` or `skipped`.
INTILERY_API std::string_view to_string(CheckResult result);

/// What one look showed. Never holds the token, nor a password.
struct Check {
  std::string name;  ///< Stable: `options`, `library`, `open_files`, `spool`, `rate_limit_store`, `proxy`, `address`,
                     ///< `connection`, `tls`, `token`, `batch`, `clock`; always all, in this order.
  CheckResult result = CheckResult::skipped;
  std::string message;
  std::string advice;  ///< What to do; may be empty.
};

/// Looks whether a client with these options could deliver, on connections of its own, and sends no event: it reads one
/// event back, and posts an empty batch. Takes at most half a minute. May be called from any thread.
/// \param style how options are named in what it says.
INTILERY_API std::vector<Check> diagnose(const Options& options, const OptionStyle& style = {});

}  // namespace intilery
