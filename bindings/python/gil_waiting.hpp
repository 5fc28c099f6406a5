/// \file
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <cmath>
#include <optional>

#include "waiting.hpp"

namespace intilery::python {

/// Waits without the GIL; Ctrl-C ends a wait within a slice.
class GilWaiting : public Waiting {
 public:
  void release() override { state_ = PyEval_SaveThread(); }
  void reacquire() override { PyEval_RestoreThread(state_); }
  void check() override {
    if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
  }

 private:
  PyThreadState* state_ = nullptr;
};

/// A time-out as Python has it: None for none, else seconds.
inline std::optional<std::chrono::milliseconds> timeout_of(pybind11::handle seconds) {
  if (!seconds || seconds.is_none()) return std::nullopt;
  const double value = PyFloat_AsDouble(seconds.ptr());
  if (value == -1.0 && PyErr_Occurred() != nullptr) throw pybind11::error_already_set();
  if (std::isnan(value)) throw pybind11::value_error("timeout must not be NaN");
  if (value > 1e9) return std::nullopt;
  return std::chrono::milliseconds(std::llround(std::max(0.0, value) * 1'000));
}

}  // namespace intilery::python
