/// \file
/// `_native.RowProof`: whether the rows of a source arrived.
#pragma once

#include <pybind11/pybind11.h>

namespace intilery::python {

/// Adds the class to the module.
void define_row_proof(pybind11::module_& module);

}  // namespace intilery::python
