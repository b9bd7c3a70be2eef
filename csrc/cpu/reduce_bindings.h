// Frames reduced to the network's size, in Python; cdifast/data/resize.py calls it. Arrays and no tensors: it is a step
// between files and tensors, without gradient.
#pragma once

#include <pybind11/pybind11.h>

namespace cdifast::cpu {

void bind_reduce(pybind11::module_& m);

}  // namespace cdifast::cpu
