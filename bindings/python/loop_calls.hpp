/// \file
/// How an event loop hears of fates: one wake-up for many, and never so many in one turn that the loop is late.
#pragma once

#include <pybind11/pybind11.h>

#include <deque>
#include <memory>
#include <vector>

#include "delivery_state.hpp"

namespace intilery::python {

/// The iterator for `await delivery`. It waits on a future of the running loop's own.
/// \param state of the delivery, which is not done. \returns null if it is by now.
pybind11::object await_in_loop(DeliveryState& state);

/// Fates that one event loop has still to hear of. It is the callable that the loop calls, and calls again in its next
/// turn while there is more; a loop that is closed lets go of it. Every member is for who has the GIL.
class LoopCalls {
 public:
  void add(DueCallback due) { due_.push_back(std::move(due)); }
  /// Gives some futures their results.
  void run(const pybind11::object& self);
  /// The loop will not call it any more.
  bool ended() const { return ended_; }
  /// While not all have their results.
  pybind11::handle loop() const;

 private:
  std::deque<DueCallback> due_;
  bool ended_ = false;
};

/// Where a client's callback thread hands over to event loops. For who has the GIL.
class LoopHandover {
 public:
  /// \param due its observer is a Callback with a loop.
  void add(DueCallback due);
  /// Tells the loops that have something new and do not know it.
  void wake();

 private:
  struct Loop {
    PyObject* loop;  ///< Only to know it by: alive as long as `calls`, whose futures hold it.
    std::weak_ptr<LoopCalls> calls;
  };
  std::vector<Loop> loops_;
  std::vector<std::shared_ptr<LoopCalls>> asleep_;
};

void define_loop_calls(pybind11::module_& module);

}  // namespace intilery::python
