#include "errors.hpp"

#include <array>
#include <chrono>
#include <new>
#include <stdexcept>
#include <utility>

#include "registry.hpp"

namespace py = pybind11;

namespace intilery::python {

py::str text(const std::string& bytes) {
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace"));
}

py::object make_error(const ErrorInfo& error) {
  py::list violations;
  for (const Violation& violation : error.violations) {
    violations.append(
        py::make_tuple(text(violation.code), text(violation.path), text(violation.rule), text(violation.message)));
  }
  py::object made =
      py::handle(registry().make_error)(static_cast<int>(error.kind), text(error.code), text(error.message),
                                        text(error.path), error.arrived == Arrived::no ? "no" : "unknown", error.status,
                                        text(error.body), error.attempts, text(error.message_id), violations);
  if (error.cause) {
    try {
      std::rethrow_exception(error.cause);
    } catch (const py::error_already_set& cause) {
      if (cause.trace()) PyException_SetTraceback(cause.value().ptr(), cause.trace().ptr());
      PyException_SetCause(made.ptr(), py::object(cause.value()).release().ptr());
    }
  }
  return made;
}

void set_python_error(std::exception_ptr thrown) noexcept {
  try {
    std::rethrow_exception(thrown);
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const IntileryError& error) {
    try {
      const py::object object = make_error(error.info());
      PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(object.ptr())), object.ptr());
    } catch (py::error_already_set& other) {
      other.restore();
    }
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
}

py::object make_receipt(const Receipt& receipt) {
  static PyObject* const event_route = PyUnicode_InternFromString("event");
  static PyObject* const batch_route = PyUnicode_InternFromString("batch");
  py::object event_id = py::none();
  if (receipt.event_id) event_id = text(*receipt.event_id);
  py::object error = py::none();
  if (receipt.error) error = make_error(*receipt.error);
  std::array members{py::object(text(receipt.message_id)),
                     std::move(event_id),
                     py::object(py::int_(receipt.status)),
                     py::object(py::int_(receipt.attempts)),
                     py::reinterpret_borrow<py::object>(receipt.route == Route::event ? event_route : batch_route),
                     py::object(py::float_(std::chrono::duration<double>(receipt.latency).count())),
                     std::move(error),
                     py::object(py::bool_(receipt.read_back))};
  // A named tuple is a tuple with other methods; its own `__new__` is Python, and costs three times as much.
  auto* const type = reinterpret_cast<PyTypeObject*>(registry().receipt_type);
  // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): the type is there from the module's start
  py::object made = py::reinterpret_steal<py::object>(type->tp_alloc(type, members.size()));
  if (!made) throw py::error_already_set();
  for (std::size_t i = 0; i < members.size(); ++i) {
    PyTuple_SET_ITEM(made.ptr(), static_cast<Py_ssize_t>(i), members[i].release().ptr());
  }
  return made;
}

}  // namespace intilery::python
