/// \file
/// `_native.ClientBase`: what a Python client is in C++.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "client_core.hpp"
#include "delivery_state.hpp"

namespace intilery::python {

/// Fills handles; log lines wait for the language's own thread.
class PyObserver : public StateObserver {
 public:
  void log(LogLevel level, std::string_view line) override { push_line(level, line); }

  /// Gets the failures that nobody observes; null: they are logged. The client's, so that a client which its own
  /// `on_error` holds can be collected. For who has the GIL.
  PyObject* on_error = nullptr;
};

/// An open client. The observer outlives the core, since the callback thread reads what is left in it.
struct OpenClient {
  std::shared_ptr<PyObserver> observer;
  std::unique_ptr<ClientCore> core;
  pybind11::object default_function;  ///< Converts what has no JSON form, or null.
  pybind11::object before_send;       ///< Sees every message, or null.
  pybind11::object on_error;          ///< The observer's, or null.
  unsigned generation = 0;            ///< Of forks; see `fork_generation`.
};

/// How many forks lie between this process and the one that loaded the module. A client of another generation is the
/// parent's: its threads are not here, and its locks may be held for ever.
unsigned fork_generation();

/// Makes the type. \returns a new reference.
PyObject* make_client_type();

/// The client behind a Python object.
/// \throws ClosedError if it was never opened, or belongs to the parent process.
OpenClient& opened(PyObject* self);
/// Whether it belongs to the parent process (or was never opened).
bool is_foreign(PyObject* self);

/// Puts an open client behind a Python object that has none.
void put(PyObject* self, std::unique_ptr<OpenClient> client);

}  // namespace intilery::python
