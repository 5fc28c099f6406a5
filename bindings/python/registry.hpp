/// \file
/// What the binding needs from the Python package.
#pragma once

#include <Python.h>

namespace intilery::python {

/// Set by `_native.register`, most of it when the package is imported; they live as long as the process.
struct Registry {
  /// `(kind, code, message, path, arrived, status, body, attempts, message_id, violations)`
  PyObject* make_error = nullptr;
  PyObject* receipt_type = nullptr;  ///< `(message_id, event_id, status, attempts, route, latency, error, read_back)`
  PyObject* await_done = nullptr;    ///< `(delivery)`: an iterator for `await`, if its fate is known.
  PyObject* reopened = nullptr;      ///< `(client)`: a forked child has just opened its own.
  PyObject* convert = nullptr;       ///< `(object)`: a simpler object, or NotImplemented.
  PyObject* number_type = nullptr;   ///< Text that is a JSON number already; from the first `convert` on.
};

inline Registry& registry() {
  static Registry the_registry;
  return the_registry;
}

}  // namespace intilery::python
