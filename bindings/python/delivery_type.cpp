#include "delivery_type.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <new>
#include <string>

#include "errors.hpp"
#include "gil_waiting.hpp"
#include "loop_calls.hpp"
#include "registry.hpp"

namespace py = pybind11;

namespace intilery::python {

namespace {

struct DeliveryObject {
  PyObject_HEAD DeliveryState state;
};

PyTypeObject* the_type = nullptr;

/// The memory of handles that are gone: most are dropped at once, and the next one is made of it. For who has the GIL.
class Spare {
 public:
  /// \returns null: there is none.
  PyObject* take() { return count_ == 0 ? nullptr : PyObject_Init(objects_[--count_], the_type); }
  bool keep(PyObject* self) {
#ifdef Py_GIL_DISABLED
    return false;
#endif
    if (count_ == objects_.size()) return false;
    objects_[count_++] = self;
    return true;
  }

 private:
  std::array<PyObject*, 8> objects_;
  std::size_t count_ = 0;
};
Spare spare;

void dealloc(PyObject* self) {
  state_of(self).~DeliveryState();
  if (!spare.keep(self)) the_type->tp_free(self);
  Py_DECREF(the_type);
}

/// The receipt, once there is one.
/// \throws TimeoutError.
Receipt wait_for(PyObject* self, PyObject* args, PyObject* kwargs) {
  static const char* names[] = {"timeout", nullptr};
  PyObject* seconds = Py_None;
  if (PyArg_ParseTupleAndKeywords(args, kwargs, "|O", const_cast<char**>(names), &seconds) == 0)
    throw py::error_already_set();
  const std::optional<std::chrono::milliseconds> timeout = timeout_of(seconds);
  std::optional<std::chrono::steady_clock::time_point> deadline;
  if (timeout) deadline = std::chrono::steady_clock::now() + *timeout;
  GilWaiting waiting;
  if (!state_of(self).wait(deadline, waiting)) {
    throw_error({.kind = ErrorKind::timeout,
                 .code = "timeout",
                 .message = "no fate within " + std::to_string(timeout->count()) + " ms; the delivery goes on"});
  }
  return state_of(self).receipt();
}

PyObject* result(PyObject* self, PyObject* args, PyObject* kwargs) {
  return guarded([&] {
    const Receipt receipt = wait_for(self, args, kwargs);
    if (receipt.error) throw_error(*receipt.error);
    return make_receipt(receipt).release().ptr();
  });
}

PyObject* exception(PyObject* self, PyObject* args, PyObject* kwargs) {
  return guarded([&] {
    const Receipt receipt = wait_for(self, args, kwargs);
    return receipt.error ? make_error(*receipt.error).release().ptr() : py::none().release().ptr();
  });
}

PyObject* done(PyObject* self, PyObject*) { return PyBool_FromLong(state_of(self).done() ? 1 : 0); }

PyObject* add_done_callback(PyObject* self, PyObject* function) {
  return guarded([&]() -> PyObject* {
    if (PyCallable_Check(function) == 0) throw py::type_error("add_done_callback() needs a callable");
    const auto callback = std::make_shared<Callback>(function, self);
    if (!state_of(self).observe(callback)) {
      const py::object result = py::handle(function)(py::handle(self));  // without a name it would be a declaration
    }
    return py::none().release().ptr();
  });
}

PyObject* message_id(PyObject* self, void*) {
  return guarded([&] { return py::str(state_of(self).id.text()).release().ptr(); });
}

PyObject* repr(PyObject* self) {
  return guarded([&] {
    const DeliveryState& state = state_of(self);
    std::string what = "waiting";
    if (state.done()) {
      const Receipt receipt = state.receipt();
      what = receipt.error ? "failed: " + receipt.error->code : "delivered";
    }
    return py::str("<intilery.Delivery " + state.id.text() + ": " + what + ">").release().ptr();
  });
}

PyObject* await(PyObject* self) {
  return guarded([&] {
    py::object waiting;
    if (!state_of(self).done()) waiting = await_in_loop(state_of(self));
    if (!waiting) waiting = py::handle(registry().await_done)(py::handle(self));
    return waiting.release().ptr();
  });
}

PyCFunction with_keywords(PyCFunctionWithKeywords function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

}  // namespace

Callback::~Callback() {
  if (Py_IsInitialized() == 0) return;
  const PyGILState_STATE gil = PyGILState_Ensure();
  Py_DECREF(function);
  Py_XDECREF(delivery);
  PyGILState_Release(gil);
}

PyObject* make_delivery_type() {
  static PyMethodDef methods[] = {
      {"result", with_keywords(result), METH_VARARGS | METH_KEYWORDS,
       "result($self, /, timeout=None)\n--\n\n"
       "Waits for the fate, at most `timeout` seconds.\n\n"
       "Returns:\n    The Receipt of a delivered event.\n\n"
       "Raises:\n    DeliveryError, AuthError, QueueFullError, ValidationError: why the event failed.\n"
       "    TimeoutError: no fate yet; the delivery goes on."},
      {"exception", with_keywords(exception), METH_VARARGS | METH_KEYWORDS,
       "exception($self, /, timeout=None)\n--\n\n"
       "As `result`, but returns the error, or None if the event was delivered."},
      {"done", done, METH_NOARGS, "done($self, /)\n--\n\nWhether the event has its final fate."},
      {"add_done_callback", add_done_callback, METH_O,
       "add_done_callback($self, function, /)\n--\n\n"
       "Calls `function(delivery)` once with the fate known, on the client's callback thread; at once if it is known."},
      {nullptr, nullptr, 0, nullptr}};
  static PyGetSetDef properties[] = {
      {"message_id", message_id, nullptr, "The id under which the event travels, from the call on.", nullptr},
      {nullptr, nullptr, nullptr, nullptr, nullptr}};
  static PyType_Slot slots[] = {
      {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
      {Py_tp_repr, reinterpret_cast<void*>(repr)},
      {Py_am_await, reinterpret_cast<void*>(await)},
      {Py_tp_methods, methods},
      {Py_tp_getset, properties},
      {Py_tp_doc, const_cast<char*>("A handle on one event's delivery. Dropping it changes nothing for the event.\n\n"
                                    "Every member may be used from any thread. `await` works in any event loop.")},
      {0, nullptr}};
  static PyType_Spec spec{"intilery.Delivery", sizeof(DeliveryObject), 0, Py_TPFLAGS_DEFAULT, slots};
  PyObject* type = PyType_FromSpec(&spec);
  the_type = reinterpret_cast<PyTypeObject*>(type);
  if (the_type != nullptr) the_type->tp_new = nullptr;  // only the client makes one
  return type;
}

PyObject* new_delivery(DeliveryState state) {
  PyObject* self = spare.take();
  if (self == nullptr) self = the_type->tp_alloc(the_type, 0);
  if (self == nullptr) {
    StateObserver::forget(state);
    throw py::error_already_set();
  }
  new (&state_of(self)) DeliveryState(std::move(state));
  return self;
}

DeliveryState& state_of(PyObject* delivery) { return reinterpret_cast<DeliveryObject*>(delivery)->state; }

}  // namespace intilery::python
