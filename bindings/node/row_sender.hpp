/// \file
/// `sendMany` between JavaScript and the core. Everything here runs on the JavaScript thread.
#pragma once

#include <napi.h>

#include <memory>

#include "node_client.hpp"

namespace intilery::node {

/// `({action, event, source, through, limit, stop, brand})`
/// \returns an object with the functions that node/send_many.cjs calls. Each returns an error's fields, or what it has.
Napi::Value make_row_sender(const Napi::CallbackInfo& info, std::shared_ptr<NodeClient> client);

/// `()`: counts the rows of a text, and finds the members of its first ones.
Napi::Value make_row_counter(const Napi::CallbackInfo& info);

/// `(path, plan)`, the plan as JSON text. \returns an object with `state`, `save` and `close`, or an error's fields.
Napi::Value open_checkpoint(const Napi::CallbackInfo& info);

}  // namespace intilery::node
