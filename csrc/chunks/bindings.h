// The chunk reader in Python; cdifast/data/chunk_reader.py calls it.
#pragma once

#include <pybind11/pybind11.h>

namespace cdifast::chunks {

void bind(pybind11::module_& m);

}  // namespace cdifast::chunks
