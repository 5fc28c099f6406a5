/// \file
/// The event calls: `identify`, `track` … as Python methods.
#pragma once

#include <Python.h>

namespace intilery::python {

/// The methods of `_native.ClientBase`, ended by an empty one. They take their arguments as CPython's fast calls hand
/// them over, which costs a tenth of what pybind11's own parsing does.
PyMethodDef* event_methods();

}  // namespace intilery::python
