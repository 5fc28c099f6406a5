/// \file
/// `_native.RowSender`: the rows of a source become events.
#pragma once

#include <pybind11/pybind11.h>

namespace intilery::python {

/// Adds the class to the module.
void define_row_sender(pybind11::module_& module);

}  // namespace intilery::python
