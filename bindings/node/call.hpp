/// \file
/// An event call on its way from JavaScript to the core.
#pragma once

#include <node_api.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "client_core.hpp"
#include "text.hpp"

namespace intilery::node {

/// The arguments of `submitParts`, in this order; what is undefined or null was not given. Texts are strings; a value
/// (`body`, `context`, `data`) is JSON text made by JSON.stringify, or what node/values.cjs says of a value that cannot
/// travel: `[code, detail, ...path]`.
enum class Argument : std::size_t {
  kind,  ///< A `CallKind`, plus `exact_call` if values.cjs wrote the values, plus the brand from `brand_shift` on.
  user_id,
  body,   ///< Traits or properties; the whole message for `CallKind::message`.
  event,  ///< Event name; a screen's name; a command's.
  anonymous_id,
  timestamp,  ///< Milliseconds (NaN: an invalid Date) or ISO text.
  context,
  message_id,
  target,  ///< assetId or journeyId.
  step_id,
  data,
  count,
};

/// The arguments of `submit`, the usual call, are a `kind`, the lengths of user id and event name (in UTF-16 units, the
/// latter from `name_shift` on), and one text of user id, event name and body: each string would cost a call into Node
/// and a copy of what JSON.stringify and `+` made in pieces.
constexpr unsigned name_shift = 15;

enum class CallKind : std::uint32_t { identify, track, page, screen, asset, journey, message };
constexpr std::uint32_t exact_call = 0x100;
constexpr unsigned brand_shift = 16;

/// What becomes of a call.
enum class Submitted {
  yes,
  suspicious,  ///< Nothing was done: the text may hide something. Serialise exactly and call `submitParts`.
};

/// Reads the arguments of `submit` and submits the event. JavaScript thread.
/// \throws ValidationError, ClosedError, QueueFullError as `ClientCore::submit`.
Submitted submit_joined(napi_env env, std::span<const napi_value, 3> arguments, ClientCore& core, TextReader& reader,
                        std::uintptr_t tag, event::MessageId& id);

/// The same for `submitParts`.
Submitted submit_parts(napi_env env, std::span<const napi_value> arguments, ClientCore& core, TextReader& reader,
                       std::uintptr_t tag, event::MessageId& id);

/// Checks a command's merge data, given as `Argument::data` of an exact call is. JavaScript thread.
/// \throws BadValue.
void check_data(napi_env env, napi_value data, event::Draft::Command command);

/// Throws the BadValue that node/values.cjs describes, `[code, detail, ...path]`. JavaScript thread.
[[noreturn]] void raise_refused(napi_env env, napi_value refused);

}  // namespace intilery::node
