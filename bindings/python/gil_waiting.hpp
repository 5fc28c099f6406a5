/// \file
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <cmath>
#include <optional>
#include <thread>

#include "intilery/errors.hpp"
#include "waiting.hpp"

namespace intilery::python {

/// Waits without the GIL; Ctrl-C ends a wait within a slice.
class GilWaiting : public Waiting {
 public:
  /// \param given_up a function that says whether nobody waits any more; or None. Outlives this.
  explicit GilWaiting(pybind11::handle given_up = {}) : given_up_(given_up) {}

  void release() override { state_ = PyEval_SaveThread(); }
  void reacquire() override {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      // The interpreter ends, and Python before 3.14 ends a daemon thread that wants the GIL by pthread_exit, which
      // would unwind C++ frames that must not throw. So the thread stays here, as it does in 3.14.
      for (;;) std::this_thread::sleep_for(std::chrono::hours(24));
    }
  }
  void check() override {
    if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
    if (given_up_ && !given_up_.is_none() && pybind11::cast<bool>(given_up_())) {
      throw_error({.kind = ErrorKind::timeout, .code = "timeout", .message = "nobody waits any more"});
    }
  }

 private:
  pybind11::handle given_up_;
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
