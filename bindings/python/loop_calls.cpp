#include "loop_calls.hpp"

#include <algorithm>
#include <utility>

#include "delivery_type.hpp"
#include "errors.hpp"

namespace py = pybind11;

namespace intilery::python {

namespace {

/// Each future wakes a task in the loop's next turn, which so takes about a millisecond.
constexpr int futures_in_a_turn = 100;

/// `object.name(argument)`, quicker than pybind11's, which makes a new string for the name.
template <class... Argument>
py::object call(py::handle object, PyObject* name, const Argument&... argument) {
  PyObject* const result = PyObject_CallMethodObjArgs(object.ptr(), name, argument.ptr()..., nullptr);
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

PyObject* interned(const char* name) { return PyUnicode_InternFromString(name); }

const Callback& callback_of(const DueCallback& due) { return *static_cast<const Callback*>(due.observer.get()); }

void finish(const DueCallback& due) {
  static PyObject* const done = interned("done");
  static PyObject* const set_result = interned("set_result");
  try {
    const py::handle future(callback_of(due).function);
    if (call(future, done).ptr() == Py_True) return;  // cancelled: nobody waits any more
    const Receipt receipt = due.state.receipt();
    if (receipt.error) {
      future.attr("set_exception")(make_error(*receipt.error));
    } else {
      call(future, set_result, make_receipt(receipt));
    }
  } catch (py::error_already_set& error) {
    error.discard_as_unraisable("the result of an awaited intilery.Delivery");
  }
}

}  // namespace

py::object await_in_loop(DeliveryState& state) {
  // Not imported with the package: most programs have no event loop. Guarded by the GIL, which an import lets go of.
  static PyObject* running_loop = nullptr;
  if (running_loop == nullptr) {
    running_loop = py::object(py::module_::import("asyncio").attr("get_running_loop")).release().ptr();
  }
  static PyObject* const create_future = interned("create_future");
  const py::object loop = py::reinterpret_steal<py::object>(PyObject_CallNoArgs(running_loop));
  if (!loop) throw py::error_already_set();
  const py::object future = call(loop, create_future);
  auto callback = std::make_shared<Callback>(future.ptr(), nullptr);
  callback->loop = loop.ptr();
  if (!state.observe(std::move(callback))) return {};
  static PyObject* const iterator = interned("__await__");
  return call(future, iterator);
}

void LoopCalls::run(const py::object& self) {
  for (int i = 0; i < futures_in_a_turn && !due_.empty(); ++i) {
    const DueCallback due = std::move(due_.front());
    due_.pop_front();
    finish(due);
  }
  ended_ = due_.empty();
  if (!ended_) loop().attr("call_soon")(self);
}

py::handle LoopCalls::loop() const { return callback_of(due_.front()).loop; }

void LoopHandover::add(DueCallback due) {
  PyObject* const loop = callback_of(due).loop;
  const auto known = std::find_if(loops_.begin(), loops_.end(), [&](const Loop& l) { return l.loop == loop; });
  std::shared_ptr<LoopCalls> calls = known == loops_.end() ? nullptr : known->calls.lock();
  if (!calls || calls->ended()) {
    std::erase_if(loops_, [&](const Loop& l) { return l.loop == loop || l.calls.expired(); });
    calls = std::make_shared<LoopCalls>();
    loops_.push_back({loop, calls});
    asleep_.push_back(calls);
  }
  calls->add(std::move(due));
}

void LoopHandover::wake() {
  for (const std::shared_ptr<LoopCalls>& calls : std::exchange(asleep_, {})) {
    try {
      calls->loop().attr("call_soon_threadsafe")(py::cast(calls));
    } catch (const py::error_already_set&) {
      // The loop is closed, and nobody waits any more.
    }
  }
}

void define_loop_calls(py::module_& module) {
  py::class_<LoopCalls, std::shared_ptr<LoopCalls>>(module, "LoopCalls").def("__call__", [](const py::object& self) {
    py::cast<LoopCalls&>(self).run(self);
  });
}

}  // namespace intilery::python
