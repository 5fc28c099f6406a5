/// \file
/// `intilery.Delivery`. A type of its own instead of a pybind11 class: one is made for each event, and this costs a
/// tenth.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "delivery_state.hpp"

namespace intilery::python {

/// Makes the type. \returns a new reference.
PyObject* make_delivery_type();

/// A handle for the state. \returns a new reference.
PyObject* new_delivery(DeliveryState state);
DeliveryState& state_of(PyObject* delivery);

/// A Python function that waits for a fate. Destroyed with or without the GIL.
struct Callback {
  PyObject* function = nullptr;
  PyObject* delivery = nullptr;  ///< Its argument; null: it gets the receipt.
  PyObject* loop = nullptr;      ///< If not null, `function` is a future of this event loop, which it holds.

  Callback(PyObject* called, PyObject* argument) : function(called), delivery(argument) {
    Py_INCREF(function);
    Py_XINCREF(delivery);
  }
  ~Callback();
  Callback(const Callback&) = delete;
  Callback& operator=(const Callback&) = delete;
};

}  // namespace intilery::python
