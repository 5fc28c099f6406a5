/// \file
/// Python objects become JSON text.
#pragma once

#include <pybind11/pybind11.h>

#include <optional>
#include <string_view>

#include "event/draft.hpp"

namespace intilery::python {

/// A value on its way to a ValueSource.
struct PyValue {
  PyObject* object = nullptr;
  PyObject* default_function = nullptr;  ///< The client's `default`, or null.
};

/// A source that writes the value; none for None or null. Needs the GIL while it writes.
event::ValueSource source_of(const PyValue& value);

/// The value as a dict, by the conversions that writing it would make; null if it is no object. A dict is given as it
/// is. May run the program's code.
pybind11::object as_dict(const PyValue& value);

/// `utf8` of a str that is not compact ASCII, whose UTF-8 Python makes, and keeps with it.
std::string_view utf8_made(PyObject* text);
/// The UTF-8 of a str. Throws BadValue for a lone surrogate.
inline std::string_view utf8(PyObject* text) {
  if (!PyUnicode_IS_COMPACT_ASCII(text)) return utf8_made(text);
  return {reinterpret_cast<const char*>(PyUnicode_1BYTE_DATA(text)),
          static_cast<std::size_t>(PyUnicode_GET_LENGTH(text))};
}

/// "int", "list" …: how an error names a value.
std::string_view kind_of(PyObject* object);

/// Milliseconds since the Unix epoch of an aware datetime; nothing for a naive one.
std::optional<std::int64_t> unix_ms(PyObject* datetime);
bool is_datetime(PyObject* object);

}  // namespace intilery::python
