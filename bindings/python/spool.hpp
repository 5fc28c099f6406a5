/// \file
/// Looking after a spool folder, for the command line.
#pragma once

#include <pybind11/pybind11.h>

namespace intilery::python {

/// Adds the functions to the module.
void define_spool(pybind11::module_& module);

}  // namespace intilery::python
