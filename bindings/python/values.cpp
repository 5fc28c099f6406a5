#include "values.hpp"

#include <datetime.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <string>

#include "event/timestamp.hpp"
#include "registry.hpp"

namespace py = pybind11;

namespace intilery::python {

namespace {

using event::JsonWriter;

/// Forgets why Python could not do something, unless memory ran out: that is no mistake in the value.
void forget_error() {
  if (PyErr_ExceptionMatches(PyExc_MemoryError) != 0) throw py::error_already_set();
  PyErr_Clear();
}

/// Holds on to what is being written while a conversion inside may run any code. (pybind11's own is a call.)
class Held {
 public:
  explicit Held(PyObject* object) : object_(object) { Py_INCREF(object_); }
  ~Held() { Py_DECREF(object_); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

 private:
  PyObject* object_;
};

/// Walks one value. Recursion is bounded by the writer's depth. What writes takes `at`, where the next byte goes and
/// there is room for what is small, and returns what that is then.
class Walker {
 public:
  Walker(JsonWriter& out, PyObject* default_function) : out_(out), default_function_(default_function) {
    ancestors_[0] = nullptr;  // only a whole message's own level fills it; the others are filled before they are read
  }

  char* write(char* at, PyObject* object) {
    if (char* const end = write_leaf(at, object)) return end;
    const Held held(object);
    PyTypeObject* type = Py_TYPE(object);
    if (type == &PyDict_Type) return write_dict(at, object);
    if (type == &PyList_Type || type == &PyTuple_Type) return write_sequence(at, object);
    return write_other(at, object);
  }

 private:
  /// Writes what runs no code of anybody's; null: it is something else.
  char* write_leaf(char* at, PyObject* object) {
    PyTypeObject* type = Py_TYPE(object);
    if (type == &PyUnicode_Type) return write_text(at, object);
    if (type == &PyFloat_Type) return JsonWriter::number(at, PyFloat_AS_DOUBLE(object));
    if (type == &PyLong_Type) return write_integer(at, object);
    if (object == Py_None) return JsonWriter::null(at);
    if (object == Py_True || object == Py_False) return JsonWriter::boolean(at, object == Py_True);
    return nullptr;
  }

  char* write_text(char* at, PyObject* object) { return out_.trusted(at, utf8(object)); }

  char* write_integer(char* at, PyObject* object) {
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow == 0) return JsonWriter::integer(at, value);
    // int.__str__ and not str(): a subclass may print itself otherwise.
    const py::object digits = py::reinterpret_steal<py::object>(PyLong_Type.tp_repr(object));
    if (!digits) {
      forget_error();  // sys.set_int_max_str_digits
      event::refuse_unsupported("int of more digits than Python prints");
    }
    return out_.literal(at, utf8(digits.ptr()));
  }

  /// Remembers a container while it is written, and refuses what is too deep.
  void enter(PyObject* container) {
    const auto depth = static_cast<std::size_t>(out_.depth()) + 1;
    const auto open = ancestors_.begin() + std::min(depth, ancestors_.size());
    if (std::find(ancestors_.begin(), open, container) != open) event::refuse_cycle();
    if (depth >= ancestors_.size()) event::refuse_depth();
    ancestors_[depth] = container;
  }

  char* write_member(char* at, PyObject* key, PyObject* value) {
    if (!PyUnicode_Check(key)) event::refuse_key(kind_of(key));
    const std::string_view name = utf8(key);
    at = out_.trusted(at, name);
    *at++ = ':';
    char* const end = event::under(name, [&] { return write_leaf(at, value); });
    return end != nullptr ? end : write_container(at, key, value);
  }

  char* write_container(char* at, PyObject* key, PyObject* value) {
    const Held held(key);
    return event::under(utf8(key), [&] { return write(at, value); });
  }

  char* write_dict(char* at, PyObject* dict) {
    enter(dict);
    at = out_.open(at, '{');
    const Py_ssize_t size = PyDict_GET_SIZE(dict);
    PyObject* key = nullptr;
    PyObject* value = nullptr;
    Py_ssize_t place = 0;
    while (PyDict_Next(dict, &place, &key, &value) != 0) {
      at = write_member(at, key, value);
      *at++ = ',';
      if (PyDict_GET_SIZE(dict) != size) {
        PyErr_SetString(PyExc_RuntimeError, "dictionary changed size during iteration");
        throw py::error_already_set();
      }
    }
    return out_.close(at, '}');
  }

  char* write_sequence(char* at, PyObject* sequence) {
    enter(sequence);
    at = out_.open(at, '[');
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(sequence); ++i) {
      at = event::under(static_cast<std::size_t>(i),
                        [&] { return write(out_.room(at, JsonWriter::small), PySequence_Fast_GET_ITEM(sequence, i)); });
      *at++ = ',';
    }
    return out_.close(at, ']');
  }

  char* write_datetime(char* at, PyObject* object) {
    if (const std::optional<std::int64_t> ms = unix_ms(object)) {
      if (*ms < event::first_timestamp_ms || *ms > event::last_timestamp_ms) event::refuse_date();
      const event::TimestampText text = event::format_timestamp(*ms);
      return out_.trusted(at, {text.data(), text.size()});
    }
    return write_text(at, py::reinterpret_borrow<py::object>(object).attr("isoformat")().ptr());
  }

  char* write_other(char* at, PyObject* object) {
    if (Py_TYPE(object) == reinterpret_cast<PyTypeObject*>(registry().number_type)) {
      return out_.literal(at, utf8(object));
    }
    if (PyUnicode_Check(object)) return write_text(at, object);
    if (PyLong_Check(object)) return write_integer(at, object);
    if (PyFloat_Check(object)) return JsonWriter::number(at, PyFloat_AS_DOUBLE(object));
    if (is_datetime(object) && kind_of(object) != "NaTType") return write_datetime(at, object);
    if (PyList_Check(object) || PyTuple_Check(object)) return write_sequence(at, object);
    return write_converted(at, object);
  }

  char* write_converted(char* at, PyObject* object) {
    // A conversion that yields ever new objects ends like any nesting that is too deep.
    enter(object);
    const int depth = out_.depth();
    out_.set_depth(depth + 1);
    const py::handle convert(registry().convert);
    py::object simpler = convert(py::handle(object));
    if (simpler.ptr() == Py_NotImplemented) {
      if (default_function_ == nullptr) event::refuse_unsupported(kind_of(object));
      simpler = py::handle(default_function_)(py::handle(object));
    } else if (PyDict_Check(simpler.ptr()) || PyList_Check(simpler.ptr())) {
      out_.set_depth(depth);  // the same container in a simpler form
    }
    at = write(at, simpler.ptr());
    out_.set_depth(depth);
    return at;
  }

  JsonWriter& out_;
  PyObject* default_function_;
  std::array<PyObject*, JsonWriter::max_depth + 1> ancestors_;
};

void import_datetime() {
  if (PyDateTimeAPI == nullptr) PyDateTime_IMPORT;
}

}  // namespace

event::ValueSource source_of(const PyValue& value) {
  if (value.object == nullptr || value.object == Py_None) return {};
  return {&value, [](JsonWriter& out, const void* source) {
            const auto& given = *static_cast<const PyValue*>(source);
            out.reserve(JsonWriter::small);
            out.set_end(Walker(out, given.default_function).write(out.end(), given.object));
          }};
}

py::object as_dict(const PyValue& value) {
  py::object object = py::reinterpret_borrow<py::object>(value.object);
  for (int step = 0; object && !PyDict_CheckExact(object.ptr()); ++step) {
    PyObject* const given = object.ptr();
    const bool plain = given == Py_None || PyUnicode_Check(given) || PyLong_Check(given) || PyFloat_Check(given) ||
                       PyList_Check(given) || PyTuple_Check(given);
    if (plain || step == JsonWriter::max_depth) return {};
    py::object simpler = py::handle(registry().convert)(object);
    if (simpler.ptr() == Py_NotImplemented) {
      if (value.default_function == nullptr) return {};
      simpler = py::handle(value.default_function)(object);
    }
    object = std::move(simpler);
  }
  return object;
}

std::string_view utf8_made(PyObject* text) {
  Py_ssize_t size = 0;
  const char* bytes = PyUnicode_AsUTF8AndSize(text, &size);
  if (bytes == nullptr) {
    forget_error();
    event::refuse_text();
  }
  return {bytes, static_cast<std::size_t>(size)};
}

std::string_view kind_of(PyObject* object) {
  const std::string_view name = Py_TYPE(object)->tp_name;
  return name.substr(name.rfind('.') + 1);  // npos + 1 is 0
}

bool is_datetime(PyObject* object) {
  import_datetime();
  return PyDateTime_Check(object) != 0;
}

std::optional<std::int64_t> unix_ms(PyObject* datetime) {
  import_datetime();
  using namespace std::chrono;
  std::int64_t offset_us = 0;
  const py::object zone = py::reinterpret_borrow<py::object>(datetime).attr("tzinfo");
  if (zone.is_none()) return std::nullopt;
  if (zone.ptr() != PyDateTime_TimeZone_UTC) {
    const py::object offset = py::reinterpret_borrow<py::object>(datetime).attr("utcoffset")();
    if (offset.is_none()) return std::nullopt;
    offset_us =
        (PyDateTime_DELTA_GET_DAYS(offset.ptr()) * std::int64_t{86'400} + PyDateTime_DELTA_GET_SECONDS(offset.ptr())) *
            1'000'000 +
        PyDateTime_DELTA_GET_MICROSECONDS(offset.ptr());
  }
  const sys_days day{year_month_day{year(PyDateTime_GET_YEAR(datetime)),
                                    month(static_cast<unsigned>(PyDateTime_GET_MONTH(datetime))),
                                    std::chrono::day(static_cast<unsigned>(PyDateTime_GET_DAY(datetime)))}};
  const microseconds moment = day.time_since_epoch() + hours(PyDateTime_DATE_GET_HOUR(datetime)) +
                              minutes(PyDateTime_DATE_GET_MINUTE(datetime)) +
                              seconds(PyDateTime_DATE_GET_SECOND(datetime)) +
                              microseconds(PyDateTime_DATE_GET_MICROSECOND(datetime)) - microseconds(offset_us);
  return floor<milliseconds>(moment).count();
}

}  // namespace intilery::python
