/// \file
/// C++ errors become Python's.
#pragma once

#include <pybind11/pybind11.h>

#include <exception>
#include <string>

#include "intilery/delivery.hpp"

namespace intilery::python {

/// Text for a person; what is no UTF-8 is replaced.
pybind11::str text(const std::string& bytes);

/// A new exception object for the error; the class is Python's own of that kind.
pybind11::object make_error(const ErrorInfo& error);

/// Sets the Python error that `thrown` means.
void set_python_error(std::exception_ptr thrown) noexcept;

/// Runs `body`, which returns a new reference or throws.
template <class Body>
PyObject* guarded(Body body) noexcept {
  try {
    return body();
  } catch (...) {
    set_python_error(std::current_exception());
    return nullptr;
  }
}

pybind11::object make_receipt(const Receipt& receipt);

}  // namespace intilery::python
