/// \file
/// `_native.ClientBase`: what a Python client is in C++.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>

#include "client_core.hpp"
#include "delivery_state.hpp"

namespace intilery::python {

/// Fills handles; log lines wait for the language's own thread.
class PyObserver : public StateObserver {
 public:
  void log(LogLevel level, std::string_view line) override { push_line(level, line); }
};

/// An open client, which the Python client and its views on other brands share. The observer outlives the core, since
/// the callback thread reads what is left in it.
struct OpenClient {
  OpenClient() = default;
  /// With the GIL.
  ~OpenClient();
  OpenClient(const OpenClient&) = delete;
  OpenClient& operator=(const OpenClient&) = delete;

  std::shared_ptr<PyObserver> observer;
  std::unique_ptr<ClientCore> core;
  pybind11::object default_function;  ///< Converts what has no JSON form, or null.
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
/// The number of the brand that a Python object sends to.
std::uint16_t brand_of(PyObject* self);
/// Whether it belongs to the parent process (or was never opened).
bool is_foreign(PyObject* self);

/// Puts an open client behind a Python object that has none.
void put(PyObject* self, std::unique_ptr<OpenClient> client);
/// Makes a Python object that has none a view on the client behind another.
void put_view(PyObject* self, PyObject* client, std::uint16_t brand);

}  // namespace intilery::python
