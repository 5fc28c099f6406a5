/// \file
/// `_native.ClientBase`: what a Python client is in C++.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "client_core.hpp"
#include "delivery_state.hpp"
#include "memory/outbox.hpp"

namespace intilery::python {

/// Fills handles; log lines wait for the language's own thread.
class PyObserver : public StateObserver {
 public:
  void finished(std::span<const Finished> group) override;
  void log(LogLevel level, std::string_view line) override { push_line(level, line); }

  /// Gets the failures that nobody observes; null: they are logged. The client's, so that a client which its own
  /// `on_error` holds can be collected. For who has the GIL.
  PyObject* on_error = nullptr;
};

/// An open client. The observer outlives the core, since the callback thread reads what is left in it.
struct OpenClient {
  /// Makes observer and core with the options; in a forked child, its own in the place of its parent's.
  void start();

  /// A brand for which there is a view. Its number is the core's, and so another one in a forked child.
  struct Brand {
    std::string name;
    std::uint16_t number;
  };

  Options options;                         ///< With the newest token.
  std::shared_ptr<memory::Outbox> outbox;  ///< Of a client in memory, or null.
  std::vector<Brand> brands;               ///< A view knows its place here.
  std::shared_ptr<PyObserver> observer;
  std::unique_ptr<ClientCore> core;
  pybind11::object default_function;  ///< Converts what has no JSON form, or null.
  pybind11::object before_send;       ///< Sees every message, or null.
  pybind11::object on_error;          ///< The observer's, or null.
  bool closed = false;                ///< Somebody called `close`. Guarded by the GIL.
};

/// Makes the type. \returns a new reference.
PyObject* make_client_type();

/// The client behind a Python object. A forked child that finds its parent's there starts it anew: it has nothing of
/// the parent's, which goes on with its own.
/// \throws ClosedError if it was never opened, or closed before it came to this process. SpoolError.
OpenClient& opened(PyObject* self);
/// The same as it stands: the parent's, too. Null: never opened.
OpenClient* find(PyObject* self);
/// The number of the brand that a Python object sends to.
std::uint16_t brand_of(PyObject* self);
/// Whether it belongs to the parent process (or was never opened).
bool is_foreign(PyObject* self);

/// Puts an open client behind a Python object that has none.
void put(PyObject* self, std::unique_ptr<OpenClient> client);
/// Makes a Python object that has none a view on another, which it keeps.
/// \throws ConfigurationError naming `brand_id`.
void put_view(PyObject* self, PyObject* client, const std::string& brand_id);

}  // namespace intilery::python
